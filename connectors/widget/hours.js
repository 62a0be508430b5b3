/* Whether people of the shop answer now, by the shop's clock (brand.yml: hours), and when they do again. */

const DAY_MS = 86_400_000;
const LOOK_AHEAD_DAYS = 21;

/* null while open (or where no hours are known), else {opens}: a Date, or null when no opening is in sight. */
export function closedAt(hours, now = new Date()) {
  if (!hours?.timezone || !hours.week) return null;
  const here = wallClock(now, hours.timezone);
  const clock = `${here.hour}:${here.minute}`;
  if (rangesOf(hours, here.date).some(([from, to]) => from <= clock && clock < to)) return null;
  for (let day = 0; day <= LOOK_AHEAD_DAYS; day += 1) {
    const date = new Date(Date.parse(`${here.date}T12:00:00Z`) + day * DAY_MS).toISOString().slice(0, 10);
    const next = rangesOf(hours, date).find(([from]) => day > 0 || from > clock);
    if (next) return { opens: instant(date, next[0], hours.timezone) };
  }
  return { opens: null };
}

/* "Monday 09:00", in the customer's own language and time zone. */
export function momentLabel(moment, locale, now = new Date()) {
  const isToday = moment.toDateString() === now.toDateString();
  const isSoon = moment - now < 6 * DAY_MS;
  const day = isToday ? {} : isSoon ? { weekday: "long" } : { day: "numeric", month: "long" };
  return new Intl.DateTimeFormat(locale, { ...day, hour: "2-digit", minute: "2-digit" }).format(moment);
}

function rangesOf({ week, closed_on }, date) {
  if (closed_on?.includes(date)) return [];
  const day = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"][new Date(`${date}T12:00:00Z`).getUTCDay()];
  return week[day] ?? [];
}

function wallClock(moment, timeZone) {
  const style = { timeZone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" };
  const parts = Object.fromEntries(new Intl.DateTimeFormat("en-GB", style).formatToParts(moment).map(({ type, value }) => [type, value]));
  return { date: `${parts.year}-${parts.month}-${parts.day}`, hour: parts.hour, minute: parts.minute };
}

/* The moment at which a clock in that time zone shows this date and time. */
function instant(date, time, timeZone) {
  const wanted = Date.parse(`${date}T${time}:00Z`);
  let guess = wanted;
  // Twice, because the first correction may cross a change of the clocks.
  for (let round = 0; round < 2; round += 1) {
    const shown = wallClock(new Date(guess), timeZone);
    guess += wanted - Date.parse(`${shown.date}T${shown.hour}:${shown.minute}:00Z`);
  }
  return new Date(guess);
}
