# Prints every record, from the first one on, until the application stops.
exec copo udd tail --from first
