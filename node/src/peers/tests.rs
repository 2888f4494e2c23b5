//! Several ports in one process, over real sockets of this machine.

mod exchange;
mod hostile;
mod reach;
mod rogue;
mod world;
