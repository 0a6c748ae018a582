//! The state of a node as records, each a JSON object.

use crate::service::Service;
use std::io;

/// Hands the records of a state to `write`, one after the other.
pub fn save(
    service: &mut Service,
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    service.master.forget_unused();
    write(&serde_json::to_vec(service)?)
}

/// A state of which some records were read.
#[derive(Default)]
pub struct Loading(Option<Service>);

impl Loading {
    /// Takes in a record.
    pub fn load(&mut self, record: &[u8]) -> Result<(), String> {
        let state = serde_json::from_slice(record).map_err(|error| error.to_string())?;
        match self.0.replace(state) {
            None => Ok(()),
            Some(_) => Err("the state has it twice".into()),
        }
    }

    /// The state, if it is whole and makes sense.
    pub fn finish(self) -> Result<Service, String> {
        let mut service = self.0.ok_or("the state is empty")?;
        service.master.rebuild();
        Ok(service)
    }
}
