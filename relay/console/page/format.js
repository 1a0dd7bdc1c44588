// How numbers and times are written.

const digits = (value) => String(+value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2));

// scaled writes a number with the largest unit that is not larger than it.
function scaled(value, base, units) {
  let i = 0;
  while (Math.abs(value) >= base && i < units.length - 1) {
    value /= base;
    i++;
  }
  return digits(value) + units[i];
}

export const none = "–";

export const count = (value) => value === null ? none : Math.abs(value) < 10_000 ? digits(value) : scaled(value, 1000, ["", "k", "M", "G"]);

export const bytes = (value) => value === null ? none : scaled(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB"]);

export function seconds(value) {
  if (value === null) return none;
  if (value === 0) return "0";
  if (value < .001) return digits(value * 1e6) + " µs";
  return value < 1 ? digits(value * 1000) + " ms" : digits(value) + " s";
}

export const time = (ms) => new Date(ms).toLocaleTimeString("en-GB");

// moment returns the unix milliseconds of a text: a time of day like 10:42:13, the last time that it was that late here;
// unix milliseconds; or a date with a time. It returns NaN for anything else.
export function moment(text, now = new Date()) {
  text = text.trim();
  if (/^\d{10,16}$/.test(text)) return Number(text);
  const match = /^(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,3}))?)?$/.exec(text);
  if (!match) return /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}/.test(text) ? Date.parse(text) : NaN;
  const [hour, minute, second, fraction] = [match[1], match[2], match[3] ?? 0, (match[4] ?? "").padEnd(3, "0")].map(Number);
  if (hour > 23 || minute > 59 || second > 59) return NaN;
  const day = (back) => new Date(now.getFullYear(), now.getMonth(), now.getDate() - back, hour, minute, second, fraction);
  return (day(0) <= now ? day(0) : day(1)).getTime();
}

const escaped = (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0");

// visible returns the text of one line, with escapes for what would hide characters or turn the text beside it around:
// controls, and those that names of channels cannot contain.
export const visible = (text) => text.replace(/[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]/g, escaped);

// visibleLines does the same for a text that may have line breaks and tabs.
export const visibleLines = (text) => text.replace(/[^\t\r\n]+/g, visible);
