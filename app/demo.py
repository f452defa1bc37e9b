"""The data that `rowfall demo` shows: one SQLite file, built in seconds and without a network.

Tables: `recording`, `category`, `audio_feature` and `noise_analysis`, which the view `recordings` joins;
`sensor_reading`; `unicode_character`; `alarm`, which is empty on purpose; `about`, which has one row.
"""

import math
import os
import sqlite3
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

FORMAT = 1  # raise it when the content changes: `rowfall demo` then rebuilds the files of older versions
RECORDINGS = 23_453
SENSORS, HOURS = 25, 10_000  # one reading per sensor and hour: 250,000 over 14 months

_APPLICATION_ID = 0x526F7766  # "Rowf": tells our file from another's that has the same user_version
_FIRST_DAY, _DAYS = datetime(2022, 1, 1), 850

_Row = tuple[object, ...]


class _Category(NamedTuple):
    name: str
    level_db: float
    centroid_hz: float
    sources: tuple[str, ...]
    titles: tuple[str, ...]


_CATEGORIES = (  # the most recorded first
    _Category("Road traffic", 68, 1400, ("engine", "tyres", "horn"), ("Morning rush", "Buses", "Motorbikes")),
    _Category("Nightlife", 66, 1900, ("voices", "music"), ("Terrace at closing time", "Singing crowd")),
    _Category("Construction", 75, 2600, ("drill", "excavator", "saw"), ("Drilling", "Roadworks", "Scaffold")),
    _Category("People", 60, 1700, ("voices", "footsteps"), ("Market day", "School gate", "Queue")),
    _Category("Sirens", 80, 2200, ("ambulance", "police", "fire engine"), ("Ambulance passing", "Siren")),
    _Category("Cleaning", 70, 2400, ("sweeper", "pressure hose"), ("Street sweeper", "Bin lorry")),
    _Category("Rail", 71, 1200, ("wheels", "brakes"), ("Tram bell", "Train over the bridge", "Metro grille")),
    _Category("Music", 69, 2000, ("drums", "guitar", "loudspeaker"), ("Busker", "Festa major", "Rehearsal")),
    _Category("Aircraft", 64, 900, ("jet", "helicopter"), ("Landing approach", "Helicopter hovering")),
    _Category("Ventilation", 55, 500, ("fan", "compressor"), ("Rooftop fans", "Air conditioning")),
    _Category("Animals", 52, 3100, ("dog", "gulls", "parakeets"), ("Dogs barking", "Parakeets", "Gulls")),
    _Category("Quiet", 41, 800, ("wind", "distant traffic"), ("Courtyard at rest", "Park before dawn")),
)
_DISTRICTS = (  # name, latitude and longitude of the middle, places
    ("Ciutat Vella", 41.3802, 2.1776, ("La Rambla", "Plaça Reial", "Carrer de la Princesa")),
    ("Eixample", 41.3931, 2.1620, ("Passeig de Gràcia", "Carrer d'Aragó", "Gran Via")),
    ("Sants-Montjuïc", 41.3710, 2.1430, ("Carrer de Sants", "Plaça d'Espanya", "Poble-sec")),
    ("Les Corts", 41.3850, 2.1310, ("Travessera de les Corts", "Plaça de la Concòrdia")),
    ("Sarrià-Sant Gervasi", 41.4020, 2.1320, ("Via Augusta", "Carrer Major de Sarrià")),
    ("Gràcia", 41.4060, 2.1560, ("Plaça del Sol", "Carrer de Verdi", "Plaça de la Vila")),
    ("Horta-Guinardó", 41.4190, 2.1610, ("Plaça d'Eivissa", "Ronda del Guinardó")),
    ("Nou Barris", 41.4410, 2.1760, ("Via Júlia", "Passeig de Fabra i Puig")),
    ("Sant Andreu", 41.4350, 2.1900, ("Carrer Gran de Sant Andreu", "La Maquinista")),
    ("Sant Martí", 41.4080, 2.1960, ("Rambla del Poblenou", "Plaça de les Glòries")),
)
# The same José twice: "é" as one code point, then as "e" and a combining accent.
_LOCAL_NAMES = ("Núria Puig", "Jos\u00e9 García", "Jose\u0301 García", "Fatima El Amrani", "Amina Diallo")
_LATIN_NAMES = ("Zoë Müller", "Þórdís Jónsdóttir", "Łukasz Wójcik", "Nguyễn Thị Hương", "Seán O'Brien")
_OTHER_NAMES = ("Олена Бойко", "Γιώργος Παππάς", "محمد العربي", "שירה כהן", "王小明", "佐藤 花子", "김민준")
_CONTRIBUTORS = _LOCAL_NAMES + _LATIN_NAMES + _OTHER_NAMES
_DEVICES = ("Zoom H5", "Tascam DR-40X", "Sound level meter, class 1", "Phone", "AudioMoth 1.2")
# What often goes wrong on the way to a page.
_QUOTES = ("She said \"louder\", he said 'no'", "C:\\audio\\raw", "'; DROP TABLE recording; --", "`x`")
_MARKUP = ("<b>not bold</b>", "R&B", "Tom &amp; Jerry", "</td><script>alert(1)</script>", "{{ 7 * 7 }}")
_SPACES = ("First line\nsecond line\n\nfourth line", "dB\tHz\ts\n68\t1400\t30", "  two around  ", "\u00a0")
_NOT_TEXT = ("=SUM(A1)", "NULL", "0", "1e5", "%s")
_SCRIPTS = ("ضوضاء الشارع", "רעש רחוב בלילה", "bus 24, حافلة 24, km 7", "夜の交差点", "한밤의 소음")
_COMBINING = ("caf\u00e9 and cafe\u0301", "İstanbul ıßſ", "Z\u0335\u0321a\u0334\u0328\u034el\u0337g\u0338")
_EMOJI = ("🚑🔊", "👩\u200d👩\u200d👧\u200d👦 shouting", "🇪🇸🇺🇦 parade", "🏴\u200d☠️", "👍🏽 clean take")
_AWKWARD = _QUOTES + _MARKUP + _SPACES + _NOT_TEXT + _SCRIPTS + _COMBINING + _EMOJI
_REMARKS = ("From a balcony.", "Wet road after rain.", "Light wind.", "Same spot as last week.", "Good take.")
_NOTES = (None,) * 160 + ("",) * 15 + _REMARKS * 18 + _AWKWARD  # each is as likely as it is often here

_SCHEMA = """
CREATE TABLE category (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT NOT NULL);
CREATE TABLE recording (id INTEGER PRIMARY KEY, title TEXT NOT NULL, recorded_at TEXT NOT NULL,
    district TEXT NOT NULL, station_code TEXT NOT NULL, device TEXT NOT NULL, contributor TEXT NOT NULL,
    latitude REAL NOT NULL, longitude REAL NOT NULL, duration_s REAL NOT NULL, note TEXT,
    category_id INTEGER NOT NULL REFERENCES category (id));
CREATE TABLE audio_feature (recording_id INTEGER PRIMARY KEY REFERENCES recording (id), rms REAL NOT NULL,
    spectral_centroid_hz REAL, bandwidth_hz REAL, zero_crossing_rate REAL NOT NULL);
CREATE TABLE noise_analysis (recording_id INTEGER PRIMARY KEY REFERENCES recording (id),
    laeq_db REAL NOT NULL, lmax_db REAL NOT NULL, l10_db REAL, l90_db REAL,
    exceeds_limit INTEGER NOT NULL, dominant_source TEXT NOT NULL, analysed_at TEXT NOT NULL);
CREATE VIEW recordings AS
SELECT recording.id, title, recorded_at, district, station_code, contributor, category.name AS category,
    duration_s, latitude, longitude, laeq_db, lmax_db, exceeds_limit, dominant_source,
    spectral_centroid_hz, note
FROM recording
JOIN category ON category.id = recording.category_id
JOIN audio_feature ON audio_feature.recording_id = recording.id
JOIN noise_analysis ON noise_analysis.recording_id = recording.id
ORDER BY recording.id;
CREATE TABLE sensor_reading (id INTEGER PRIMARY KEY, sensor_id TEXT NOT NULL, measured_at TEXT NOT NULL,
    temperature REAL, humidity REAL, pressure REAL NOT NULL, battery REAL NOT NULL, status TEXT NOT NULL);
CREATE TABLE unicode_character (codepoint INTEGER PRIMARY KEY, hex TEXT NOT NULL, character TEXT NOT NULL,
    name TEXT, category TEXT NOT NULL, bidirectional TEXT NOT NULL, combining INTEGER NOT NULL,
    east_asian_width TEXT NOT NULL, mirrored INTEGER NOT NULL, numeric_value REAL);
CREATE TABLE alarm (id INTEGER PRIMARY KEY, sensor_id TEXT NOT NULL, raised_at TEXT NOT NULL,
    level_db REAL NOT NULL, message TEXT, acknowledged_at TEXT);
CREATE TABLE about (title TEXT NOT NULL, description TEXT NOT NULL, city TEXT NOT NULL,
    seed INTEGER NOT NULL, format INTEGER NOT NULL, unicode_version TEXT NOT NULL);
"""
# Made after the rows: sorting once is faster than keeping an index in order.
_INDEXES = """
CREATE INDEX recording_category ON recording (category_id);
CREATE INDEX recording_district ON recording (district, recorded_at);
CREATE INDEX noise_analysis_level ON noise_analysis (laeq_db);
"""


def build(path: Path, *, seed: int = 20_240_501) -> None:
    """Writes the demo to `path`, replacing the file there at once; its folder must exist.

    Equal seeds give equal rows (`unicode_character` follows the Unicode version of this Python).
    Shapes: `recordings` 23,453 x 16, `sensor_reading` 250,000 x 8, `unicode_character` about 145,000 x 10,
    `alarm` 0 x 6, `about` 1 x 6. Units: dB(A), Hz, seconds, degrees WGS 84, local time in ISO 8601;
    a sensor's temperature in degrees Celsius, humidity in percent, pressure in hPa, battery in volts.
    """
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        draft = Path(folder, "draft")
        with closing(sqlite3.connect(draft)) as connection:
            # Nothing to protect before the rename: a build that fails leaves no file at `path`.
            connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _SCHEMA)
            _fill(connection, seed)
            connection.executescript(_INDEXES)
        for suffix in ("-journal", "-wal", "-shm"):  # an older file's: SQLite would apply them to the new one
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        os.replace(draft, path)


def is_current(path: Path) -> bool:
    """Whether `path` is a demo of this version; False for no file, another file or an older demo."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            application: int = connection.execute("PRAGMA application_id").fetchone()[0]
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.DatabaseError:
        return False
    return (application, version) == (_APPLICATION_ID, FORMAT)


def _fill(connection: sqlite3.Connection, seed: int) -> None:
    def insert(table: str, columns: int, rows: Iterator[_Row]) -> None:
        connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})", rows)

    rng = Random(seed)
    categories = ((n, c.name, f"Mostly {' or '.join(c.sources)}") for n, c in enumerate(_CATEGORIES, start=1))
    insert("category", 3, categories)
    recordings, features, analyses = zip(*_recordings(rng), strict=True)
    insert("recording", 12, iter(recordings))
    insert("audio_feature", 5, iter(features))
    insert("noise_analysis", 8, iter(analyses))
    insert("sensor_reading", 8, _sensor_readings(rng))
    insert("unicode_character", 10, _unicode_characters())
    description = "Invented recordings of urban noise and sensor readings, and the characters of Unicode."
    about = ("Rowfall demo", description, "Barcelona", seed, FORMAT, unicodedata.unidata_version)
    insert("about", 6, iter([about]))
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def _recordings(rng: Random) -> Iterator[list[_Row]]:
    """One recording at a time, with its features and its analysis."""
    for number in range(1, RECORDINGS + 1):
        kind = int(len(_CATEGORIES) * rng.random() ** 2)  # squared: the first categories are the common ones
        category = _CATEGORIES[kind]
        station = rng.randrange(12 * len(_DISTRICTS))
        district, middle_latitude, middle_longitude, places = _DISTRICTS[station % len(_DISTRICTS)]
        title = f"{rng.choice(category.titles)}, {rng.choice(places)}"
        if rng.random() < 0.02:
            title = rng.choice(_AWKWARD)
        day = _FIRST_DAY + timedelta(days=number * _DAYS // RECORDINGS)
        recorded_at = day + timedelta(seconds=int(rng.triangular(0, 86_399, 64_000)))
        latitude = round(middle_latitude + rng.uniform(-0.006, 0.006), 5)
        longitude = round(middle_longitude + rng.uniform(-0.006, 0.006), 5)
        duration = round(3 + rng.expovariate(1 / 40), 1)
        person, device = rng.choice(_CONTRIBUTORS), rng.choice(_DEVICES)
        where = (district, f"{400 + station:05}", device, person, latitude, longitude)
        recording = (number, title, recorded_at.isoformat(), *where, duration, rng.choice(_NOTES), kind + 1)
        yield [recording, *_measures(rng, number, category, recorded_at, duration)]


def _measures(rng: Random, number: int, category: _Category, at: datetime, length: float) -> list[_Row]:
    """The rows of `audio_feature` and `noise_analysis` for a recording of `length` seconds."""
    night = not 7 <= at.hour < 23
    laeq = round(max(28.0, rng.gauss(category.level_db - 5 * night, 5)), 1)
    lmax = round(laeq + rng.uniform(4, 18), 1)
    exceeds = laeq > (55 if night else 65)
    levels: _Row = (round(laeq + rng.uniform(1, 4), 1), round(laeq - rng.uniform(3, 12), 1))
    if length < 10:  # too short for percentiles
        levels = (None, None)
    centroid = category.centroid_hz * rng.uniform(0.7, 1.4)
    spectrum: _Row = (round(centroid, 1), round(centroid * rng.uniform(0.5, 0.9), 1))
    if rng.random() < 0.03:  # clipped: its spectrum says nothing
        spectrum = (None, None)
    crossings = round(centroid * rng.uniform(1.6, 2.2) / 44_100, 4)
    features = (number, round(10 ** ((laeq - 100) / 20), 6), *spectrum, crossings)
    analysed_at = (at + timedelta(minutes=rng.randrange(2, 4_000))).isoformat()
    return [features, (number, laeq, lmax, *levels, exceeds, rng.choice(category.sources), analysed_at)]


def _sensor_readings(rng: Random) -> Iterator[_Row]:
    """Every sensor, hour by hour: warmest in August and in mid-afternoon, drier when warmer."""
    random, number = rng.random, 0  # integers below, divided last: three times as fast as rounding
    names = [f"S{sensor:02}" for sensor in range(1, SENSORS + 1)]
    for hour in range(HOURS):
        at = (_FIRST_DAY + timedelta(hours=hour)).isoformat()
        year, day = math.cos((hour / 24 - 215) / 365.25 * math.tau), math.cos((hour - 15) / 24 * math.tau)
        warmth = int(170 + 75 * year + 40 * day)
        pressure = int(10_140 + 80 * math.sin(hour / 61) + 30 * math.sin(hour / 17))
        for sensor, name in enumerate(names):
            number += 1
            noise = int(random() * 30)
            drained = (hour + sensor * 331) % 4_000 // 50  # a fresh battery every 4,000 hours
            climate: _Row = ((warmth + sensor % 7 * 3 + noise) / 10, (980 - warmth * 3 // 2 - noise * 3) / 10)
            status = "ok" if drained <= 75 else "low battery"
            if random() < 0.006:
                climate, status = (None, None), "fault"
            yield number, name, at, *climate, (pressure - sensor) / 10, (415 - drained) / 100, status


def _unicode_characters() -> Iterator[_Row]:
    """Every assigned character but surrogates and private use."""
    of = unicodedata
    # Planes 4 to 13 hold nothing, 15 and 16 only private use: skipping them saves a tenth of a second.
    for codepoint in chain(range(0x40000), range(0xE0000, 0xF0000)):
        char = chr(codepoint)
        category = of.category(char)
        if category in ("Cn", "Cs", "Co"):
            continue
        kind = (category, of.bidirectional(char), of.combining(char), of.east_asian_width(char))
        name, number = of.name(char, None), of.numeric(char, None)
        yield codepoint, f"U+{codepoint:04X}", char, name, *kind, of.mirrored(char), number
