//! A module in the interpreter: what it must be, and a bounded run of it.
//!
//! Each run has an instance of its own, so that no run sees another, and a module needs no `free`. wasmi interprets: no page is executable,
//! and with its feature `deterministic` NaNs are canonical, so that every machine computes the same bits.

use std::panic::AssertUnwindSafe;

use app_package::path;
use wasmi::{
    Caller, CompilationMode, Config, EnforcedLimits, Engine, ExternType, Instance, Linker, Memory, Module, Store, StoreLimits,
    StoreLimitsBuilder, TrapCode, TypedFunc, ValType,
    errors::{ErrorKind, InstantiationError, MemoryError},
};

use crate::error::{AppError, Result};

/// Lines that a run may log; more are dropped.
const MAX_LINES: usize = 64;
/// Longest line in characters; longer ones are cut.
const MAX_LINE: usize = 200;
/// What a line costs, for it is made outside of the module.
const LINE_FUEL: u64 = 1_000;
/// Longest answer in bytes.
const MAX_ANSWER: usize = 4 << 20;
/// Elements of all tables of a module; they hold functions.
const MAX_TABLE: usize = 100_000;
/// The version of the interface.
const ABI: i32 = 1;

/// A module that was found fit to run.
pub(super) struct Runnable {
    engine: Engine,
    module: Module,
    linker: Linker<Host>,
    fuel: u64,
    memory: usize,
}

/// What one run did.
#[derive(Debug, Default)]
pub(super) struct Ran {
    pub answer: Vec<u8>,
    /// Instructions taken.
    pub fuel: u64,
    /// Lines logged.
    pub log: Vec<String>,
}

/// What the host keeps for an instance.
struct Host {
    limits: StoreLimits,
    log: Vec<String>,
}

/// An instance with what it exports.
struct Live {
    store: Store<Host>,
    memory: Memory,
    alloc: TypedFunc<u32, u32>,
    run: TypedFunc<(u32, u32), u64>,
}

impl Runnable {
    /// Reads a module, and makes one instance to see that it can. Codes `wasm-not-core`, `wasm-invalid`, `wasm-import`,
    /// `wasm-export-missing`, `wasm-abi`, and those of [`Self::run`].
    pub fn new(bytes: &[u8], fuel: u64, memory: usize) -> Result<Self> {
        // The layer in the upper half of the version tells components from modules (component-model, Binary.md).
        if bytes.get(..8) != Some(b"\0asm\x01\0\0\0") {
            let what = if bytes.get(..4) == Some(b"\0asm") { "a component, or of another version" } else { "no WebAssembly" };
            return Err(AppError::new("wasm-not-core", format!("this is {what}; a core module of version 1 is needed")));
        }
        let mut config = Config::default();
        // WebAssembly 2.0 without vectors; what is beyond it is off, so that a module runs the same on every version of the node.
        config
            .consume_fuel(true)
            .compilation_mode(CompilationMode::Eager)
            .enforced_limits(EnforcedLimits::strict())
            .wasm_multi_memory(false)
            .wasm_tail_call(false)
            .wasm_extended_const(false)
            .ignore_custom_sections(true);
        let engine = Engine::new(&config);
        // wasmi 2.0.0 divides by the number of functions, also in a section of code that has bytes and none of them.
        let parsed = std::panic::catch_unwind(AssertUnwindSafe(|| Module::new(&engine, bytes)));
        let parsed = parsed.map_err(|_| AppError::new("wasm-invalid", "it cannot be read; is its section of code without functions?"))?;
        let module = parsed.map_err(|e| AppError::new("wasm-invalid", e.to_string()))?;
        for import in module.imports() {
            let known = matches!(import.ty(), ExternType::Func(ty) if ty.params() == [ValType::I32; 2] && ty.results().is_empty());
            if (import.module(), import.name()) != ("pithead", "log") || !known {
                let message = format!(
                    "it imports {:?} of {:?}; only the function `log` (i32, i32) of `pithead` is there",
                    import.name(),
                    import.module()
                );
                return Err(AppError::new("wasm-import", message));
            }
        }
        let mut linker = Linker::new(&engine);
        linker.func_wrap("pithead", "log", log).map_err(|e| AppError::new("wasm-invalid", e.to_string()))?;
        let runnable = Self { engine, module, linker, fuel, memory };
        runnable.exports()?;
        let (mut store, instance) = runnable.instance()?;
        let told = instance.get_typed_func::<(), i32>(&store, "pithead_abi").and_then(|abi| abi.call(&mut store, ()));
        match told {
            Ok(ABI) => Ok(runnable),
            Ok(other) => Err(AppError::new("wasm-abi", format!("`pithead_abi` gives {other}; this node knows {ABI}"))),
            Err(e) => Err(runnable.failed(&e)),
        }
    }

    /// Everything that is called is there, and of the right type.
    fn exports(&self) -> Result<()> {
        let wanted: [(&str, &str, &[ValType], &[ValType]); 3] = [
            ("pithead_abi", "() -> i32", &[], &[ValType::I32]),
            ("alloc", "(i32) -> i32", &[ValType::I32], &[ValType::I32]),
            ("run", "(i32, i32) -> i64", &[ValType::I32; 2], &[ValType::I64]),
        ];
        let lacking = |name: &str, what: &str| AppError::new("wasm-export-missing", format!("it exports no {what} `{name}`"));
        for (name, signature, params, results) in wanted {
            match self.module.get_export(name) {
                Some(ExternType::Func(ty)) if ty.params() == params && ty.results() == results => {}
                Some(ExternType::Func(_)) => return Err(AppError::new("wasm-abi", format!("`{name}` is not {signature}"))),
                _ => return Err(lacking(name, "function")),
            }
        }
        match self.module.get_export("memory") {
            Some(ExternType::Memory(_)) => Ok(()),
            _ => Err(lacking("memory", "memory")),
        }
    }

    /// A new instance. A start function runs on the fuel of the run.
    fn instance(&self) -> Result<(Store<Host>, Instance)> {
        // Growing beyond the limit ends the run: that is clearer than what a module makes of a refusal.
        let limits = StoreLimitsBuilder::new().memory_size(self.memory).table_elements(MAX_TABLE).trap_on_grow_failure(true);
        let limits = limits.instances(1).tables(1).memories(1).build();
        let mut store = Store::new(&self.engine, Host { limits, log: Vec::new() });
        store.limiter(|host| &mut host.limits);
        store.set_fuel(self.fuel).map_err(|e| AppError::new("wasm-invalid", e.to_string()))?;
        let made = self.linker.instantiate_and_start(&mut store, &self.module);
        let instance = made.map_err(|e| self.failed(&e))?;
        Ok((store, instance))
    }

    fn live(&self) -> Result<Live> {
        let (store, instance) = self.instance()?;
        let missing = |e: wasmi::Error| AppError::new("wasm-export-missing", e.to_string());
        let memory = instance.get_memory(&store, "memory").ok_or_else(|| AppError::new("wasm-export-missing", "it exports no memory"))?;
        let alloc = instance.get_typed_func(&store, "alloc").map_err(missing)?;
        let run = instance.get_typed_func(&store, "run").map_err(missing)?;
        Ok(Live { store, memory, alloc, run })
    }

    /// Gives a message to a new instance and returns its answer, empty where it has none. Codes `wasm-out-of-fuel`, `wasm-memory`,
    /// `wasm-trap`, `wasm-answer`.
    pub fn run(&self, message: &[u8]) -> (Ran, Result<()>) {
        let mut live = match self.live() {
            Ok(live) => live,
            Err(e) => return (Ran::default(), Err(e)),
        };
        let outcome = self.answer(&mut live, message);
        let left = live.store.get_fuel().unwrap_or(0);
        let mut ran = Ran { answer: Vec::new(), fuel: self.fuel.saturating_sub(left), log: live.store.into_data().log };
        let outcome = outcome.map(|answer| ran.answer = answer);
        (ran, outcome)
    }

    fn answer(&self, live: &mut Live, message: &[u8]) -> Result<Vec<u8>> {
        let outside = |what: &str, at: u64, length: usize, memory: usize| {
            AppError::new("wasm-answer", format!("{what} {length} bytes at {at}, and the memory has {memory}"))
        };
        let length = u32::try_from(message.len()).map_err(|_| AppError::new("wasm-memory", "what the step is given has 4 GiB or more"))?;
        let at = live.alloc.call(&mut live.store, length).map_err(|e| self.failed(&e))?;
        if at == 0 {
            let message = format!("`alloc` had no place for the {length} bytes that the step is given; memory_mib allows {}", self.memory);
            return Err(AppError::new("wasm-memory", message));
        }
        if live.memory.write(&mut live.store, at as usize, message).is_err() {
            return Err(outside("`alloc` gave", at.into(), message.len(), live.memory.data_size(&live.store)));
        }
        let told = live.run.call(&mut live.store, (at, length)).map_err(|e| self.failed(&e))?;
        let [at, length] = [told >> 32, told & 0xffff_ffff];
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MAX_ANSWER {
            return Err(AppError::new("wasm-answer", format!("the answer has {length} bytes; at most {MAX_ANSWER} are read")));
        }
        let memory = live.memory.data(&live.store);
        let place = usize::try_from(at).ok().and_then(|at| memory.get(at..at.checked_add(length)?));
        place.map(<[u8]>::to_vec).ok_or_else(|| outside("the answer has", at, length, memory.len()))
    }

    /// Why a run ended.
    fn failed(&self, error: &wasmi::Error) -> AppError {
        let fuel = || AppError::new("wasm-out-of-fuel", format!("it took more than the {} instructions of `fuel`", self.fuel));
        let more = || {
            AppError::new("wasm-memory", format!("it needs more than the {} bytes of memory_mib, or tables of {MAX_TABLE}", self.memory))
        };
        match error.kind() {
            ErrorKind::TrapCode(TrapCode::OutOfFuel) | ErrorKind::Memory(MemoryError::OutOfFuel { .. }) | ErrorKind::Fuel(_) => fuel(),
            ErrorKind::TrapCode(TrapCode::GrowthOperationLimited | TrapCode::OutOfSystemMemory)
            | ErrorKind::Instantiation(
                InstantiationError::FailedToInstantiateMemory(_)
                | InstantiationError::FailedToInstantiateTable(_)
                | InstantiationError::TooManyTables
                | InstantiationError::TooManyMemories,
            ) => more(),
            _ => AppError::new("wasm-trap", error.to_string()),
        }
    }
}

/// `pithead.log`: a line of UTF-8.
fn log(mut caller: Caller<'_, Host>, at: u32, length: u32) -> std::result::Result<(), wasmi::Error> {
    let left = caller.get_fuel()?.checked_sub(LINE_FUEL);
    caller.set_fuel(left.unwrap_or(0))?;
    if left.is_none() {
        return Err(TrapCode::OutOfFuel.into());
    }
    if caller.data().log.len() >= MAX_LINES {
        return Ok(());
    }
    let memory = caller.get_export("memory").and_then(wasmi::Extern::into_memory);
    let memory = memory.ok_or_else(|| wasmi::Error::new("`log` without a memory"))?;
    let at = at as usize;
    let whole = memory.data(&caller).get(at..at.saturating_add(length as usize));
    let whole = whole.ok_or(TrapCode::MemoryOutOfBounds)?;
    // A character has at most four bytes.
    let start = whole.get(..whole.len().min(MAX_LINE * 4)).unwrap_or_default();
    let line = String::from_utf8_lossy(start);
    let shown = line.chars().take(MAX_LINE).map(|c| if c.is_control() || path::invisible(c) { '\u{fffd}' } else { c }).collect();
    caller.data_mut().log.push(shown);
    Ok(())
}
