//! Runs model apps: picture, table or sound in; detections, classes, values, texts and alarms out.
//!
//! The server uses it to check an uploaded package in a confined child process ([`worker`]); the edge agent uses it to
//! serve installed apps. The steps mean exactly what the types of [`app_package::pipeline`] say.
//! Invariants: every input is bounded before it is decoded; nothing here opens a network connection; a model is only
//! loaded after [`model_file::inspect`] has seen that its external data stays inside the package.

mod agree;
pub mod alarm;
pub mod app;
mod assign;
pub mod check;
pub mod clip;
pub mod column;
pub mod content;
pub mod draw;
pub mod engine;
pub mod episode;
pub mod error;
pub mod evaluate;
pub mod evidence;
pub mod examine;
pub mod families;
mod frames;
pub mod geometry;
pub mod golden;
pub mod mask;
pub mod measure;
pub mod model_file;
pub mod moment;
pub mod onnx;
pub mod output;
pub mod own;
pub mod picture;
pub mod post;
pub mod probe;
pub mod procedure;
pub mod provider;
pub mod sandbox;
pub mod scene;
pub mod sound;
pub mod spectrum;
mod stage;
pub mod table;
pub mod tensors;
pub mod tiles;
pub mod track;
pub mod truth;
pub mod watch;
pub mod worker;
