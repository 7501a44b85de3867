import copo from './index.js'

export const { connect, Client, Subscription, CopoError, ErrorCode, version } = copo
export default copo
