//! Modbus TCP: registers, coils and discrete inputs of a controller, read at an interval over one connection.
//!
//! Invariants: after an answer that did not come in time the connection is given up, for a late answer would be taken for the next one
//! (slowtec/tokio-modbus#324); a register that the controller refuses keeps no other from being read.

use std::time::{Duration, Instant};

use reqwest::Url;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_modbus::Slave;
use tokio_modbus::client::{Context, Reader, tcp};
use tokio_modbus::slave::SlaveContext;

use super::{host, unreachable};
use crate::fault::Fault;
use crate::sources::channels::{Channel, Register, Table};

/// Time for a connection, and for one answer.
const ANSWER: Duration = Duration::from_secs(3);
/// Shortest time from one reading to the next.
const SHORTEST: Duration = Duration::from_millis(100);

/// Reads until that fails, and gives each value, or why there is none, by the place of its channel. After each round `round` is called. Code
/// `source-unreachable`.
pub async fn run(
    url: &Url,
    channels: &[Channel],
    pause: Duration,
    mut value: impl FnMut(usize, Result<f64, String>),
    mut round: impl FnMut(),
) -> Fault {
    let connected = timeout(ANSWER, TcpStream::connect((host(url), url.port().unwrap_or(502)))).await;
    let mut context = match connected {
        Ok(Ok(stream)) => tcp::attach(stream),
        Ok(Err(e)) => return unreachable(e),
        Err(_) => return unreachable(late()),
    };
    loop {
        let begun = Instant::now();
        for (at, channel) in channels.iter().enumerate() {
            let Some(register) = &channel.register else { continue };
            match timeout(ANSWER, read(&mut context, register)).await {
                Ok(Ok(Ok(words))) => {
                    let number = register.number(&words).filter(|number| number.is_finite());
                    value(at, number.ok_or_else(|| "not a finite number".to_owned()));
                }
                Ok(Ok(Err(exception))) => value(at, Err(format!("the controller refuses: {exception}"))),
                Ok(Err(e)) => return unreachable(e),
                Err(_) => return unreachable(late()),
            }
        }
        round();
        tokio::time::sleep(pause.max(SHORTEST).saturating_sub(begun.elapsed())).await;
    }
}

fn late() -> String {
    format!("no answer within {} s", ANSWER.as_secs())
}

/// What a register holds; a coil or discrete input as 0 or 1.
async fn read(context: &mut Context, register: &Register) -> tokio_modbus::Result<Vec<u16>> {
    let (address, count) = (register.address, register.count());
    context.set_slave(Slave(register.unit));
    let bits = |read: tokio_modbus::Result<Vec<bool>>| read.map(|answer| answer.map(|bits| bits.into_iter().map(u16::from).collect()));
    match register.table {
        Table::Holding => context.read_holding_registers(address, count).await,
        Table::Input => context.read_input_registers(address, count).await,
        Table::Coil => bits(context.read_coils(address, count).await),
        Table::Discrete => bits(context.read_discrete_inputs(address, count).await),
    }
}
