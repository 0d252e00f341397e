/** How seconds, bytes and factors are written. */

/** 75.4 -> "1:15", 3675 -> "1:01:15". */
export function clock(seconds) {
  const whole = Math.floor(seconds + 1e-6);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** In words: 75 -> "1 minute 15 seconds", 7200 -> "2 hours". */
export function spokenClock(seconds) {
  const whole = Math.floor(seconds + 1e-6);
  const parts = [[Math.floor(whole / 3600), "hour"], [Math.floor(whole / 60) % 60, "minute"], [whole % 60, "second"]];
  const said = parts.filter(([n]) => n).map(([n, unit]) => `${n} ${unit}${n === 1 ? "" : "s"}`);
  return said.join(" ") || "0 seconds";
}

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

/** Three digits and a binary unit: 1536 -> "1.50 KiB". */
export function bytes(count) {
  let unit = 0;
  let value = count;
  while (value >= 999.5 && unit < UNITS.length - 1) [value, unit] = [value / 1024, unit + 1];
  if (!unit) return `${value} ${UNITS[0]}`;
  return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${UNITS[unit]}`;
}

/** How many times smaller the memory is than full attention's. */
export function factor(kept, full) {
  return kept > 0 ? `${(full / kept).toFixed(1)}x` : "1.0x";
}
