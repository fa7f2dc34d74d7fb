//! A declaration in the table of settings expands to a field of [`ConfigFile`](super::ConfigFile) and of
//! [`RunConfig`](super::RunConfig), and a step of each function that goes through all settings.

/// The field's type in a run's configuration.
macro_rules! settled {
    (always $type:ty) => { $type };
    (optional $type:ty) => { Option<$type> };
}

/// A reference to the value of a run's setting, if it has one.
macro_rules! value_of {
    (always $place:expr) => {
        Some(&$place)
    };
    (optional $place:expr) => {
        $place.as_ref()
    };
}

/// Gives a run's setting a value.
macro_rules! assign {
    (always $place:expr, $value:expr) => {
        $place = $value
    };
    (optional $place:expr, $value:expr) => {
        $place = Some($value)
    };
}

/// The value that a run begins with.
macro_rules! complete {
    (always $setting:expr, $given:expr, $optimizer:expr) => {
        match $given.or_else(|| $setting.default_for($optimizer)) {
            Some(value) => value,
            None => return Err(ConfigError::Missing { setting: $setting.key, example: $setting.example }),
        }
    };
    (optional $setting:expr, $given:expr, $optimizer:expr) => {
        $given
    };
}

/// Gives its default to a setting that was left to data and network.
macro_rules! settle {
    (always $setting:expr, $place:expr, $optimizer:expr) => {};
    (optional $setting:expr, $place:expr, $optimizer:expr) => {
        if $place.is_none() && $setting.settles && $setting.concerns($optimizer) {
            $place = $setting.default_for($optimizer);
        }
    };
}

/// The table. Settings `of_run` are fields of both structs. Settings `elsewhere` are read and then become part
/// of the network or of the run's place.
macro_rules! settings {
    ($(
        of_run {$(
            $(#[doc = $help:literal])+
            $name:ident: $presence:ident $type:ty { $($field:ident: $value:expr),* $(,)? }
        )*}
        elsewhere {$(
            $(#[doc = $other_help:literal])+
            $other:ident: $other_type:ty { $($other_field:ident: $other_value:expr),* $(,)? }
        )*}
    )*) => {
        /// The declarations, with their types.
        #[allow(non_upper_case_globals)]
        pub mod declared {
            use super::*;

            $(
                $(
                    $(#[doc = $help])+
                    pub static $name: Setting<$type> = Setting {
                        key: key!($name),
                        help: concat!($($help),+),
                        $($field: $value,)*
                        ..Setting::NEW
                    };
                )*
                $(
                    $(#[doc = $other_help])+
                    pub static $other: Setting<$other_type> = Setting {
                        key: key!($other),
                        help: concat!($($other_help),+),
                        $($other_field: $other_value,)*
                        ..Setting::NEW
                    };
                )*
            )*
        }

        /// All settings, in the order of the table.
        pub static SETTINGS: LazyLock<Vec<Description>> = LazyLock::new(|| {
            vec![$($(declared::$name.describe(),)* $(declared::$other.describe(),)*)*]
        });

        /// Settings as a user gives them, in a file or on the command line: any may be absent.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct ConfigFile {
            $(
                $($(#[doc = $help])+ pub $name: Option<$type>,)*
                $($(#[doc = $other_help])+ pub $other: Option<$other_type>,)*
            )*
        }

        /// A run, fully described: with the same settings and data, the weights are the same bits.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub struct RunConfig {
            $($($(#[doc = $help])+ pub $name: settled!($presence $type),)*)*
            /// Which of the settings that always have a value have one by default.
            #[serde(skip)]
            pub left_open: LeftOpen,
            /// The network. Last, because it is a table of its own in the file.
            pub model: NetworkSpec,
        }

        impl ConfigFile {
            /// Reads the value of a key; `false`: there is no such key.
            pub(super) fn read_key(&mut self, key: &str, value: &Node) -> Result<bool, Problem> {
                $(
                    $(if key == declared::$name.key {
                        self.$name = Some(Value::read(value)?);
                        return Ok(true);
                    })*
                    $(if key == declared::$other.key {
                        self.$other = Some(Value::read(value)?);
                        return Ok(true);
                    })*
                )*
                Ok(false)
            }

            /// The values given by the flags of `command`.
            pub fn from_flags(matches: &ArgMatches, command: Command) -> Self {
                fn given<T: Value>(setting: &Setting<T>, matches: &ArgMatches, command: Command) -> Option<T> {
                    let is_given = setting.commands.contains(&command)
                        && matches.value_source(setting.key) == Some(ValueSource::CommandLine);
                    is_given.then(|| T::given(matches, setting.key)).flatten()
                }
                Self {$(
                    $($name: given(&declared::$name, matches, command),)*
                    $($other: given(&declared::$other, matches, command),)*
                )*}
            }

            /// Whether there is a value for a key.
            pub(super) fn is_given(&self, key: &str) -> bool {
                $(
                    $(if key == declared::$name.key {
                        return self.$name.is_some();
                    })*
                    $(if key == declared::$other.key {
                        return self.$other.is_some();
                    })*
                )*
                false
            }

            /// Removes the value of a key.
            pub(super) fn clear(&mut self, key: &str) {
                $(
                    $(if key == declared::$name.key {
                        self.$name = None;
                    })*
                    $(if key == declared::$other.key {
                        self.$other = None;
                    })*
                )*
            }

            /// Merges: these values take precedence over those of `below`.
            pub(super) fn filled_from(self, below: Self) -> Self {
                Self {$(
                    $($name: self.$name.or(below.$name),)*
                    $($other: self.$other.or(below.$other),)*
                )*}
            }

            /// Resolves relative paths against `folder`.
            pub(super) fn rebase(&mut self, folder: &Path) {
                $(
                    $(if let Some(value) = &mut self.$name {
                        value.rebase(folder);
                    })*
                    $(if let Some(value) = &mut self.$other {
                        value.rebase(folder);
                    })*
                )*
            }

            /// Makes paths absolute.
            pub(super) fn make_absolute(&mut self) -> Result<(), ConfigError> {
                let named = |setting| move |problem| ConfigError::Setting { setting, problem };
                $($(if let Some(value) = &mut self.$name {
                    value.make_absolute().map_err(named(declared::$name.key))?;
                })*)*
                Ok(())
            }

            /// A run with this network and these settings, and defaults for the others.
            pub(super) fn complete(self, model: NetworkSpec) -> Result<RunConfig, ConfigError> {
                let optimizer = self.optimizer.unwrap_or_default();
                let left_open = LeftOpen { iterations: self.iterations.is_none(), ..LeftOpen::default() };
                Ok(RunConfig {
                    left_open,
                    $($($name: complete!($presence declared::$name, self.$name, optimizer),)*)*
                    model,
                })
            }
        }

        impl RunConfig {
            /// Whether each setting is in its range and concerns the run's optimizer.
            pub(super) fn check_each(&self) -> Result<(), ConfigError> {
                $($(if let Some(value) = value_of!($presence self.$name) {
                    declared::$name.check(value, self.optimizer)?;
                })*)*
                Ok(())
            }

            /// Gives defaults to the settings that depend on data and network.
            pub(super) fn settle_each(&mut self) {
                $($(settle!($presence declared::$name, self.$name, self.optimizer);)*)*
            }

            /// Replaces settings by those that are given.
            ///
            /// # Errors
            /// When `run.toml` cannot keep a path.
            pub fn overrule(&mut self, mut with: ConfigFile) -> Result<(), ConfigError> {
                with.make_absolute()?;
                $($(if let Some(value) = with.$name {
                    assign!($presence self.$name, value);
                })*)*
                Ok(())
            }

            /// Takes over the settings of a section.
            pub fn take(&mut self, section: Section, from: &Self) {
                $($(if declared::$name.section == section {
                    self.$name = from.$name.clone();
                })*)*
            }
        }
    };
}

/// The key of a field: `test-fraction`.
macro_rules! key {
    ($name:ident) => {{
        const NAME: &str = stringify!($name);
        const KEY: [u8; super::super::declare::plain(NAME).len()] = super::super::declare::kebab_case(NAME);
        match str::from_utf8(&KEY) {
            Ok(key) => key,
            Err(_) => unreachable!(),
        }
    }};
}

/// `name` without the `r#` of a raw identifier.
pub(super) const fn plain(name: &str) -> &[u8] {
    match name.as_bytes() {
        [b'r', b'#', rest @ ..] => rest,
        name => name,
    }
}

/// `name` with hyphens.
pub(super) const fn kebab_case<const BYTES: usize>(name: &str) -> [u8; BYTES] {
    let name = plain(name);
    let mut key = [0; BYTES];
    let mut position = 0;
    while position < BYTES {
        key[position] = match name[position] {
            b'_' => b'-',
            byte => byte,
        };
        position += 1;
    }
    key
}
