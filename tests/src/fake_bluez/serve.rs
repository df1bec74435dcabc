//! Shell: one life of the fake daemon on its bus: it takes calls, and says what the world has to say, in its order.
#![expect(clippy::disallowed_methods, reason = "shell: a bus, files, tasks, time")]

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use homeward_fleet::clock::Clock;
use homeward_protocol::bond::{BleAddress, Bond, KeyClass};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use zbus::{Connection, Message, MessageStream, ObjectPath};

use super::asked;
use super::bonding::Said;
use super::objects::device_path;
use super::say::{Body, CallId, Question, Refusal, Say};
use super::world::World;

const BUS: &str = "org.freedesktop.DBus";
const EVERYBODY: Option<&str> = None;

/// What all lives of the daemon share: the disk and the room.
#[derive(Debug)]
pub(super) struct Shared {
    world: Mutex<World>,
    /// Where key files lie.
    pub(super) keys: PathBuf,
    voice: Mutex<Option<UnboundedSender<Say>>>,
    waiting: Mutex<HashMap<CallId, Message>>,
    calls: AtomicU64,
}

/// One life.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) connection: Connection,
    tasks: Vec<JoinHandle<()>>,
}

fn open<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(keys: PathBuf) -> Shared {
        Shared {
            world: Mutex::new(World::new()),
            keys,
            voice: Mutex::new(None),
            waiting: Mutex::default(),
            calls: AtomicU64::new(0),
        }
    }

    /// Changes the world; what it has to say is said in the order of the changes. Without a daemon nobody says it.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let mut world = open(&self.world);
        let given = change(&mut world);
        let voice = open(&self.voice);
        for say in world.says() {
            match (&*voice, say) {
                (Some(voice), say) => drop(voice.send(say)),
                (None, Say::Key(address, bond)) => self.keep(world.adapter.address, address, bond),
                (None, _) => {}
            }
        }
        given
    }

    /// Writes or removes a key file, as `bluetoothd` does.
    fn keep(&self, adapter: BleAddress, address: BleAddress, bond: Option<Bond>) {
        let folder = self.keys.join(adapter.to_string()).join(address.to_string());
        match bond {
            Some(bond) => {
                fs::create_dir_all(&folder).expect("the test's own folder");
                fs::write(folder.join("info"), key_file(bond)).expect("the test's own folder");
            }
            // Not there: no key either.
            None => drop(fs::remove_file(folder.join("info"))),
        }
    }
}

/// As BlueZ 5.66 writes it, with a key that opens nothing.
fn key_file(bond: Bond) -> String {
    let class = match bond.class {
        KeyClass::LegacyUnauthenticated => 0,
        KeyClass::LegacyAuthenticated => 1,
        KeyClass::SecureUnauthenticated => 2,
        KeyClass::SecureAuthenticated => 3,
        KeyClass::Debug => 4,
    };
    let size = bond.key_size;
    let key = "00112233445566778899AABBCCDDEEFF";
    let lines = format!("Key={key}\nAuthenticated={class}\nEncSize={size}\nEDiv=0\nRand=0\n");
    format!(
        "[General]\nTrusted=false\nBlocked=false\n\n[PeripheralLongTermKey]\n{lines}\n[SlaveLongTermKey]\n{lines}"
    )
}

impl Life {
    /// Begins to serve on the bus at `address`.
    pub(super) async fn begin(shared: &Arc<Shared>, address: &str) -> zbus::Result<Life> {
        let connection = zbus::connection::Builder::address(address).build().await?;
        let stream = MessageStream::from(&connection);
        let rule = "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged'";
        let (way, at) = (Some(BUS), "/org/freedesktop/DBus");
        connection.call_method(way, at, way, "AddMatch", &rule).await?;
        let (voice, said) = unbounded_channel();
        *open(&shared.voice) = Some(voice);
        let listening = listen(stream, Arc::clone(shared));
        let speaking = speak(connection.clone(), said, Arc::clone(shared));
        let tasks = vec![tokio::spawn(listening), tokio::spawn(speaking)];
        let do_not_queue = ("org.bluez", 4_u32);
        connection
            .call_method(way, at, way, "RequestName", &do_not_queue)
            .await?;
        Ok(Life { connection, tasks })
    }

    /// Ends at once, in the middle of whatever it does.
    pub(super) async fn end(self, shared: &Shared) {
        *open(&shared.voice) = None;
        for task in &self.tasks {
            task.abort();
        }
        // That it is gone is all that is wanted.
        let _ = self.connection.close().await;
        open(&shared.waiting).clear();
        shared.with(World::die);
    }
}

async fn listen(mut stream: MessageStream, shared: Arc<Shared>) {
    while let Some(Ok(message)) = stream.next().await {
        if let Some(client) = asked::left(&message) {
            shared.with(|world| world.client_left(&client));
        }
        let id = shared.calls.fetch_add(1, Ordering::Relaxed);
        if let Some(call) = asked::call(&message, id, Clock::system().now()) {
            open(&shared.waiting).insert(id, message);
            shared.with(|world| world.call(call));
        }
    }
}

async fn speak(connection: Connection, mut said: UnboundedReceiver<Say>, shared: Arc<Shared>) {
    while let Some(say) = said.recv().await {
        // The bus is gone: so is the life.
        if one(&connection, say, &shared).await.is_err() {
            return;
        }
    }
}

async fn one(connection: &Connection, say: Say, shared: &Arc<Shared>) -> zbus::Result<()> {
    let properties = "org.freedesktop.DBus.Properties";
    let manager = "org.freedesktop.DBus.ObjectManager";
    match say {
        Say::Answer(call, with) => {
            let asked = open(&shared.waiting).remove(&call);
            match asked {
                Some(asked) => answer(connection, &asked, with).await,
                None => Ok(()),
            }
        }
        Say::Changed(path, interface, values) => {
            let body = (interface, values, Vec::<String>::new());
            connection
                .emit_signal(EVERYBODY, path, properties, "PropertiesChanged", &body)
                .await
        }
        Say::Added(path, interfaces) => {
            let body = (ObjectPath::try_from(path)?, interfaces);
            connection
                .emit_signal(EVERYBODY, "/", manager, "InterfacesAdded", &body)
                .await
        }
        Say::Removed(path, interfaces) => {
            let body = (ObjectPath::try_from(path)?, interfaces);
            connection
                .emit_signal(EVERYBODY, "/", manager, "InterfacesRemoved", &body)
                .await
        }
        Say::Key(address, bond) => {
            let adapter = shared.with(|world| world.adapter.address);
            shared.keep(adapter, address, bond);
            Ok(())
        }
        later => {
            tokio::spawn(after(connection.clone(), later, Arc::clone(shared)));
            Ok(())
        }
    }
}

async fn answer(connection: &Connection, asked: &Message, with: Result<Body, Refusal>) -> zbus::Result<()> {
    let header = asked.header();
    match with {
        Ok(Body::Empty) => connection.reply(&header, &()).await,
        Ok(Body::Octets(octets)) => connection.reply(&header, &octets).await,
        Ok(Body::Text(text)) => connection.reply(&header, &text).await,
        Ok(Body::Property(value)) => connection.reply(&header, &value).await,
        Ok(Body::Properties(all)) => connection.reply(&header, &all).await,
        Ok(Body::Objects(tree)) => connection.reply(&header, &tree).await,
        Err(refusal) => {
            let name = refusal.name.as_str();
            connection.reply_error(&header, name, &refusal.message).await
        }
    }
}

/// What takes its time.
async fn after(connection: Connection, say: Say, shared: Arc<Shared>) {
    match say {
        Say::Send(address, link, sent) => {
            for one in sent {
                sleep(one.after).await;
                shared.with(|world| world.send_within(address, link, one));
            }
        }
        Say::Later(call, wait) => {
            sleep(wait).await;
            shared.with(|world| world.late(call));
        }
        Say::Ask {
            call,
            agent,
            device,
            question,
        } => {
            let said = ask(&connection, &agent, device, question).await;
            let said = said.unwrap_or(Said::No);
            shared.with(|world| world.agent_said(call, device, &said));
        }
        _ => {}
    }
}

async fn ask(
    connection: &Connection,
    (client, path): &(String, String),
    device: BleAddress,
    question: Question,
) -> zbus::Result<Said> {
    let (to, agent) = (Some(client.as_str()), Some("org.bluez.Agent1"));
    let path = path.as_str();
    let device = ObjectPath::try_from(device_path(device))?;
    match question {
        Question::Passkey => {
            let answer = connection
                .call_method(to, path, agent, "RequestPasskey", &device)
                .await?;
            Ok(Said::Passkey(answer.body().deserialize()?))
        }
        Question::Confirm(number) => {
            let body = (device, number);
            connection
                .call_method(to, path, agent, "RequestConfirmation", &body)
                .await?;
            Ok(Said::Yes)
        }
        Question::Display(digits) => {
            let body = (device, digits, 0_u16);
            connection
                .call_method(to, path, agent, "DisplayPasskey", &body)
                .await?;
            Ok(Said::Yes)
        }
    }
}
