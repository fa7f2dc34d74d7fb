// Dates as a model's training data wrote them, in seconds since 1970 (or since midnight): what table/src/date.rs does.

/** The formats by their number in a model file. */
export const ISO = 0;
const YEAR_MONTH = 1;
const TIME = 2;
const FIRST_DATE = 3;
const DATES = [
  "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%d-%b-%Y", "%d %b %Y", "%d %b %Y",
  "%b %d %Y", "%b %d, %Y", "%b %d, %Y", "%b %d %Y", "%Y-%b-%d", "%d%b%Y", "%a, %d %b %Y",
];
const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const PARTS = { "%Y": "(?<year>\\d{4})", "%m": "(?<month>\\d{1,2})", "%d": "(?<day>\\d{1,2})", "%b": "(?<name>[a-z]{3,9})", "%a": "[a-z]{3,9}" };
const DAY = 86_400;

/** The seconds of a cell in a format (its number), or NaN. */
export function secondsOf(text, format) {
  if (format === TIME) return timeOf(text) ?? NaN;
  if (format === YEAR_MONTH) return /^\d{4}-\d{2}$/.test(text) ? isoOf(`${text}-01`) : NaN;
  if (format === ISO) return isoOf(text);
  const pattern = DATES[format - FIRST_DATE].replace(/[.]/g, "\\.").replace(/%[Ymdba]/g, (part) => PARTS[part]);
  const found = text.match(new RegExp(`^${pattern}(?:,?[ T]+(?<time>.*))?$`, "i"));
  if (found === null) return NaN;
  const { year, month, day, name, time } = found.groups;
  const date = dayOf(Number(year), name ? MONTHS.indexOf(name.slice(0, 3).toLowerCase()) + 1 : Number(month), Number(day));
  return date + (time === undefined ? 0 : (timeOf(time) ?? NaN));
}

function isoOf(text) {
  const found = text.match(/^(\d{4})-(\d{2})-(\d{2})(?:[ T](.*))?$/);
  if (found === null) return NaN;
  const [, year, month, day, time] = found;
  return dayOf(Number(year), Number(month), Number(day)) + (time === undefined ? 0 : (timeOf(time) ?? NaN));
}

function dayOf(year, month, day) {
  const date = new Date(Date.UTC(2000, month - 1, day));
  date.setUTCFullYear(year, month - 1, day);
  const exists = date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
  return exists ? date.getTime() / 1000 : NaN;
}

/** Seconds since midnight, less the time zone's offset if there is one. */
function timeOf(text) {
  const found = text.trim().match(/^(\d{1,2}):(\d{2})(?::(\d{2})(\.\d+)?)?\s*(am|pm)?\s*(z|utc|gmt|[+-]\d{2}:?\d{2})?$/i);
  if (found === null) return null;
  const [, hours, minutes, seconds = "0", fraction = "0", half, zone] = found;
  const hour = half === undefined ? Number(hours) : (Number(hours) % 12) + (half.toLowerCase() === "pm" ? 12 : 0);
  if (hour > 23 || Number(minutes) > 59 || Number(seconds) > 60) return null;
  const offset = /^[+-]/.test(zone ?? "")
    ? Number(`${zone[0]}1`) * (Number(zone.slice(1, 3)) * 3600 + Number(zone.slice(-2)) * 60)
    : 0;
  return hour * 3600 + Number(minutes) * 60 + Number(seconds) + Number(fraction) - offset;
}

/** The turns of year, week (from Monday) and day at a moment, each from 0 to below 1. */
export function turnsOf(seconds) {
  const days = Math.floor(seconds / DAY);
  const date = new Date(days * DAY * 1000);
  const year = date.getUTCFullYear();
  const first = dayOf(year, 1, 1) / DAY;
  return {
    year: (days - first) / (dayOf(year + 1, 1, 1) / DAY - first),
    week: ((((days - 4) % 7) + 7) % 7) / 7,
    day: (seconds - days * DAY) / DAY,
  };
}

/** A number of days since 1970 as a cell in the column's format. */
export function written(days, format) {
  if (format === TIME) return new Date(days * DAY * 1000).toISOString().slice(11, 16);
  const iso = new Date(Math.round(days) * DAY * 1000).toISOString().slice(0, 10);
  if (format === ISO || format === undefined || format === null) return iso;
  const [year, month, day] = iso.split("-");
  if (format === YEAR_MONTH) return `${year}-${month}`;
  const name = MONTHS[Number(month) - 1];
  const parts = { "%Y": year, "%m": month, "%d": day, "%b": name[0].toUpperCase() + name.slice(1), "%a": "Mon" };
  return DATES[format - FIRST_DATE].replace(/%[Ymdba]/g, (part) => parts[part]);
}
