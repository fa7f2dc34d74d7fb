// Numbers, durations and counts as people read them, in the page's language.

const LANGUAGE = document.documentElement.lang;
const whole = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 0 });
const percent = new Intl.NumberFormat(LANGUAGE, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const wholePercent = new Intl.NumberFormat(LANGUAGE, { style: "percent", maximumFractionDigits: 0 });
const significant = new Intl.NumberFormat(LANGUAGE, { maximumSignificantDigits: 3, minimumSignificantDigits: 3 });
const brief = new Intl.NumberFormat(LANGUAGE, { maximumSignificantDigits: 2 });

/** 60000 -> "60,000". */
export const count = (number) => whole.format(number);

/** 0.9712 -> "97.1%". */
export const share = (fraction) => percent.format(fraction);

/** 0.347 -> "about 35%". */
export const roughShare = (fraction) => `about ${wholePercent.format(fraction)}`;

/** A loss, to three significant digits. */
export const loss = (value) => (value !== 0 && Math.abs(value) < 1e-4 ? value.toExponential(2) : significant.format(value));

/** A value on the chart's axis. */
export const tick = (value) => (value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(0) : brief.format(value));

/** 3, "core", "cores" -> "3 cores". */
export const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

/** 3725 -> "1 h 2 min". */
export function duration(seconds) {
  const total = Math.floor(seconds);
  if (total < 60) return `${total} s`;
  const minutes = Math.floor(total / 60);
  if (minutes < 60) return `${minutes} min ${total % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** The time of day, for "since ...". */
export const clock = (date) => date.toLocaleTimeString(LANGUAGE, { hour: "numeric", minute: "2-digit" });
