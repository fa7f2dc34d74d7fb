// Numbers, durations and counts as people read them, in the page's language.

const LANGUAGE = document.documentElement.lang;
const whole = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 0 });
const oneDecimal = new Intl.NumberFormat(LANGUAGE, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const atMostOneDecimal = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 1 });
const significant = new Intl.NumberFormat(LANGUAGE, { maximumSignificantDigits: 3, minimumSignificantDigits: 3 });
const billions = new Intl.NumberFormat(LANGUAGE, { notation: "compact", compactDisplay: "long", maximumSignificantDigits: 3 });
const threeDigits = new Intl.NumberFormat(LANGUAGE, { maximumSignificantDigits: 3 });

/** Units of bytes that are shown, in MB. */
const SIZES = [[1e6, "TB"], [1e3, "GB"], [1, "MB"]];
const MEGA = 1e6;
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** 60000 -> "60,000". */
export const count = (number) => whole.format(number);

/** 123456789 -> "123,456,789", 1234567890123 -> "1.23 trillion": a count where there is little room. */
export const large = (number) => (number < 1e9 ? count(number) : billions.format(number));

/** 0.9712 -> "97.1 %". All but one of a million are not 100 %, and one of a million is not 0 %. */
export function share(fraction) {
  if (fraction > 0 && fraction < 0.0005) return "under 0.1\u00a0%";
  return fraction >= 0.9995 && fraction < 1 ? "over 99.9\u00a0%" : `${oneDecimal.format(100 * fraction)}\u00a0%`;
}

/** 0.97 -> "97 %": a share on a chart's axis. */
export const wholeShare = (fraction) => `${atMostOneDecimal.format(100 * fraction)}\u00a0%`;

/** 0.94 -> "94 %", 0.999 -> "over 99 %": how sure a network is. */
export const certainty = (fraction) => (fraction >= 0.995 && fraction < 1 ? "over 99\u00a0%" : `${whole.format(100 * fraction)}\u00a0%`);

/** A loss, to three significant digits. */
export const loss = (value) => (value !== 0 && Math.abs(value) < 1e-4 ? value.toExponential(2) : significant.format(value));

/** A value on a chart's axis. */
export const tick = (value) => (value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(0) : threeDigits.format(value));

/** 1.4142 -> "1.41". */
export const brief = (value) => threeDigits.format(value);

/** 18234 -> "18.2 k": examples a second. */
export function rate(value) {
  if (value < 999.5) return whole.format(value);
  return value < 999_500 ? `${threeDigits.format(value / 1e3)} k` : `${threeDigits.format(value / 1e6)} M`;
}

/** 3, "core", "cores" -> "3 cores". */
export const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

/** 61_234_567 -> "61 MB"; MB below ten, and all larger units, with one decimal. */
export function megabytes(bytes) {
  const amount = bytes / MEGA;
  const [size, unit] = SIZES.find(([size]) => amount >= 0.9995 * size) ?? SIZES.at(-1);
  if (unit === "MB") return `${amount >= 9.95 || amount < 0.05 ? whole.format(amount) : amount.toFixed(1)} MB`;
  return `${oneDecimal.format(amount / size)} ${unit}`;
}

/** 3725 -> "1 h 2 min": the two largest units, as far as they are not zero. */
export function duration(seconds) {
  const total = Math.floor(seconds);
  if (total < MINUTE) return `${total} s`;
  const parts = total < HOUR ? [[MINUTE, "min"], [1, "s"]] : total < DAY ? [[HOUR, "h"], [MINUTE, "min"]] : [[DAY, "d"], [HOUR, "h"]];
  const [first, second] = parts.map(([unit, name], at) => [Math.floor((at === 0 ? total : total % parts[0][0]) / unit), name]);
  return [first, second].filter(([number], at) => at === 0 || number > 0).map(([number, name]) => `${count(number)} ${name}`).join(" ");
}

/** 731 -> "12 minutes". */
export function roughly(seconds) {
  if (seconds < 50) return plural(Math.max(10, Math.ceil(seconds / 10) * 10), "second", "seconds");
  if (seconds < 1.5 * HOUR) return plural(Math.max(1, Math.round(seconds / MINUTE)), "minute", "minutes");
  if (seconds < 2 * DAY) return plural(Math.round(seconds / HOUR), "hour", "hours");
  return plural(Math.round(seconds / DAY), "day", "days");
}

/** The time of day, for "since ...". */
export const clock = (date) => date.toLocaleTimeString(LANGUAGE, { hour: "numeric", minute: "2-digit" });

/** The same to the second. */
export const clockSeconds = (date) => date.toLocaleTimeString(LANGUAGE);
