//! The rule of a column that a user declared: its type, how files write it, and its constraints.

/// A type with its constraints.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// The type.
    pub kind: Kind,
    /// How files write a value, where that may differ from how JSON does.
    pub written: Written,
    /// What else is asked of a value.
    pub constraints: Constraints,
}

/// The types of Table Schema that can be declared, with the formats that decide how values are stored.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "Table Schema's own words")]
pub enum Kind {
    String,
    Any,
    Uuid,
    Email,
    Uri,
    Url,
    Integer,
    Number {
        /// Stored as `double precision`, not as `numeric`.
        float: bool,
    },
    Boolean,
    Date,
    Time,
    DateTime,
    Year,
    YearMonth,
    GeoPoint(GeoPoint),
    /// With what its items are.
    List(Box<Declared>),
    Object,
    Array,
}

/// How files write a geopoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GeoPoint {
    /// `lon, lat`
    Default,
    /// `[lon,lat]`
    Array,
    /// `{"lon":…,"lat":…}`
    Object,
}

/// How files write a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Of a date, time or datetime, as strftime has it; `None`: as ISO 8601 has it.
    pub pattern: Option<Box<str>>,
    /// Between the whole and the fraction of a number.
    pub decimal: char,
    /// Between groups of three digits.
    pub group: Option<char>,
    /// Whether a number stands alone; otherwise what is no digit is stripped from both ends.
    pub bare: bool,
    /// The first is what exports write.
    pub true_values: Box<[Box<str>]>,
    /// The first is what exports write.
    pub false_values: Box<[Box<str>]>,
    /// Where a datetime without offset is; IANA's name.
    pub timezone: Option<Box<str>>,
    /// Between the items of a list.
    pub delimiter: Box<str>,
}

/// What is asked of a value beside its type.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Constraints {
    /// Characters, items or members.
    pub min_length: Option<u32>,
    /// Characters, items or members.
    pub max_length: Option<u32>,
}

impl Declared {
    /// The type without any constraint, written as JSON writes it.
    pub fn new(kind: Kind) -> Self {
        let written = Written {
            pattern: None,
            decimal: '.',
            group: None,
            bare: true,
            true_values: ["true", "True", "TRUE", "1"].map(Box::from).into(),
            false_values: ["false", "False", "FALSE", "0"].map(Box::from).into(),
            timezone: None,
            delimiter: ",".into(),
        };
        Self { kind, written, constraints: Constraints::default() }
    }

    /// Table Schema's name of the type.
    pub fn type_name(&self) -> &'static str {
        match &self.kind {
            Kind::String | Kind::Uuid | Kind::Email | Kind::Uri | Kind::Url => "string",
            Kind::Any => "any",
            Kind::Integer => "integer",
            Kind::Number { .. } => "number",
            Kind::Boolean => "boolean",
            Kind::Date => "date",
            Kind::Time => "time",
            Kind::DateTime => "datetime",
            Kind::Year => "year",
            Kind::YearMonth => "yearmonth",
            Kind::GeoPoint(_) => "geopoint",
            Kind::List(_) => "list",
            Kind::Object => "object",
            Kind::Array => "array",
        }
    }

    /// PostgreSQL's type of the values.
    pub fn sql_type(&self) -> &'static str {
        match &self.kind {
            Kind::String | Kind::Any | Kind::Email | Kind::Uri | Kind::Url => "text",
            Kind::Uuid => "uuid",
            Kind::Integer => "bigint",
            Kind::Number { float: false } => "numeric",
            Kind::Number { float: true } => "double precision",
            Kind::Boolean => "boolean",
            Kind::Date | Kind::YearMonth => "date",
            Kind::Time => "time",
            Kind::DateTime => "timestamptz",
            Kind::Year => "integer",
            Kind::GeoPoint(_) => "geometry(Point,4326)",
            Kind::Object | Kind::Array => "jsonb",
            Kind::List(item) => match item.sql_type() {
                "text" => "text[]",
                "bigint" => "bigint[]",
                "numeric" => "numeric[]",
                "double precision" => "double precision[]",
                "boolean" => "boolean[]",
                "date" => "date[]",
                "time" => "time[]",
                _ => "timestamptz[]",
            },
        }
    }
}
