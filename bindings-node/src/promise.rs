//! From the SDK's results to promises.

use napi::bindgen_prelude::{AsyncTask, Object, ToNapiValue, TypeName};
use napi::{Env, Error, Result, Status, Task};

/// Settles a promise; may be called on any thread, once.
pub type Settle<T> = Box<dyn FnOnce(copo::Result<T>) + Send>;

/// An SDK error as it crosses: the number, then the sentence.
pub fn to_js(error: copo::Error) -> Error {
    Error::new(Status::GenericFailure, format!("{}:{error}", error.code() as i32))
}

/// A promise that `start` arranges to be settled.
pub fn promise<T>(env: &Env, start: impl FnOnce(Settle<T>)) -> Result<Object<'_>>
where
    T: ToNapiValue + Send + 'static,
{
    let (deferred, promise) = env.create_deferred::<T, Box<dyn FnOnce(Env) -> Result<T>>>()?;
    start(Box::new(move |result| match result {
        Ok(value) => deferred.resolve(Box::new(move |_| Ok(value))),
        Err(error) => deferred.reject(to_js(error)),
    }));
    Ok(promise)
}

/// A call that waits, on a thread of libuv's pool.
pub struct Blocking<T>(Option<Box<dyn FnOnce() -> copo::Result<T> + Send>>);

/// Runs `call` on libuv's pool.
pub fn blocking<T>(call: impl FnOnce() -> copo::Result<T> + Send + 'static) -> AsyncTask<Blocking<T>>
where
    T: ToNapiValue + TypeName + Send + 'static,
{
    AsyncTask::new(Blocking(Some(Box::new(call))))
}

impl<T: ToNapiValue + TypeName + Send + 'static> Task for Blocking<T> {
    type Output = T;
    type JsValue = T;

    fn compute(&mut self) -> Result<T> {
        match self.0.take() {
            Some(call) => call().map_err(to_js),
            None => Err(Error::from_reason("1:a task ran twice")),
        }
    }

    fn resolve(&mut self, _env: Env, output: T) -> Result<T> {
        Ok(output)
    }
}
