// Numbers, durations and counts as people read them, in the page's language.

const LANGUAGE = document.documentElement.lang;
const whole = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 0 });
const percent = new Intl.NumberFormat(LANGUAGE, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const wholePercent = new Intl.NumberFormat(LANGUAGE, { style: "percent", maximumFractionDigits: 1 });
const significant = new Intl.NumberFormat(LANGUAGE, { maximumSignificantDigits: 3, minimumSignificantDigits: 3 });
const threeDigits = new Intl.NumberFormat(LANGUAGE, { maximumSignificantDigits: 3 });

const MEGA = 1e6;

/** 60000 -> "60,000". */
export const count = (number) => whole.format(number);

/** 0.9712 -> "97.1%". */
export const share = (fraction) => percent.format(fraction);

/** 0.97 -> "97%": a share on a chart's axis. */
export const wholeShare = (fraction) => wholePercent.format(fraction);

/** A loss, to three significant digits. */
export const loss = (value) => (value !== 0 && Math.abs(value) < 1e-4 ? value.toExponential(2) : significant.format(value));

/** A value on a chart's axis. */
export const tick = (value) => (value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(0) : threeDigits.format(value));

/** 1.4142 -> "1.41". */
export const brief = (value) => threeDigits.format(value);

/** 18234 -> "18.2 k": examples a second. */
export const rate = (value) => (value < 999.5 ? whole.format(value) : `${threeDigits.format(value / 1000)} k`);

/** 3, "core", "cores" -> "3 cores". */
export const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

/** 61_234_567 -> "61 MB"; below ten with one decimal. */
export function megabytes(bytes) {
  if (bytes >= 1000 * MEGA) return `${(bytes / (1000 * MEGA)).toFixed(1)} GB`;
  const amount = bytes / MEGA;
  return `${amount >= 9.95 ? Math.round(amount) : amount.toFixed(1)} MB`;
}

/** 3725 -> "1 h 2 min". */
export function duration(seconds) {
  const total = Math.floor(seconds);
  if (total < 60) return `${total} s`;
  const minutes = Math.floor(total / 60);
  if (minutes < 60) return total % 60 === 0 ? `${minutes} min` : `${minutes} min ${total % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** 731 -> "12 minutes". */
export function roughly(seconds) {
  if (seconds < 50) return plural(Math.max(10, Math.ceil(seconds / 10) * 10), "second", "seconds");
  if (seconds < 90 * 60) return plural(Math.max(1, Math.round(seconds / 60)), "minute", "minutes");
  return plural(Math.round(seconds / 3600), "hour", "hours");
}

/** The time of day, for "since ...". */
export const clock = (date) => date.toLocaleTimeString(LANGUAGE, { hour: "numeric", minute: "2-digit" });

/** The same to the second. */
export const clockSeconds = (date) => date.toLocaleTimeString(LANGUAGE);
