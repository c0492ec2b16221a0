// Ages count up by themselves: a page that stays open does not go on saying "just now". Same words as src/base/i18n.rs.
import { now, toast } from "./page.js";

function words(seconds) {
  const { agoNow, agoSeconds, agoMinutes, agoHours, agoDays } = toast.dataset;
  const [text, unit] = seconds < 10 ? [agoNow, 1] : seconds < 60 ? [agoSeconds, 1] : seconds < 3600 ? [agoMinutes, 60] : seconds < 172800 ? [agoHours, 3600] : [agoDays, 86400];
  return text.replace("{n}", Math.floor(seconds / unit));
}

function count() {
  if (document.hidden) return;
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const text = words(Math.max(0, (now() - Date.parse(time.dateTime)) / 1000));
    if (time.textContent !== text) time.textContent = text;
  }
}

if (toast) {
  setInterval(count, 1000);
  document.addEventListener("visibilitychange", count);
  document.addEventListener("live:refreshed", count);
}
