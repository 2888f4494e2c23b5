//! Applications at the doors.

use syngraph_node::core::ports::Input;

use super::{Item, Step, World};
use crate::net::NodeId;
use crate::time::MS;

impl World {
    /// An application does what it has to, and comes back.
    pub(super) fn app(&mut self, app: usize) -> Step {
        let again = self.between(10 * MS, 150 * MS);
        self.later(again, Item::App(app));
        let handed_in = self.load.step(app, self.at, &mut self.random, &mut self.oracle, &self.nodes)?;
        let Some((node, commands)): Option<(NodeId, _)> = handed_in else { return Ok(()) };
        self.note(&format!("app {app} hands in at {node}"));
        for command in commands {
            self.tell(node, Input::Command(command));
        }
        Ok(())
    }
}
