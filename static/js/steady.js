// Milliseconds that go on whatever the machine's clock is set to: silences and ages are counted by them. The steady clock of some systems
// stands still while the machine sleeps; what the wall clock has gained meanwhile is added.
const SLEEP = 5000;
let last = performance.now(), wall = Date.now(), slept = 0;

export function steady() {
  const here = performance.now(), there = Date.now(), gained = there - wall - (here - last);
  if (gained > SLEEP) slept += gained;
  last = here;
  wall = there;
  return here + slept;
}
