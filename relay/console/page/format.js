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
