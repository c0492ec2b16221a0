// Light and dark. A classic script in <head>, so that the first paint is right. The choice lives in the cookie "theme" (the server
// renders data-theme from it) and in localStorage (survives a cleared cookie). Without a choice the system's preference decides.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const known = (value) => (value === "light" || value === "dark" ? value : null);
  let choice = known(root.dataset.theme) || known(stored());
  const apply = () => {
    root.dataset.theme = choice || (dark.matches ? "dark" : "light");
    document.dispatchEvent(new CustomEvent("themechange"));
  };
  apply();
  dark.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    for (const button of document.querySelectorAll("[data-theme-switch]")) {
      button.hidden = false;
      button.addEventListener("click", () => {
        choice = root.dataset.theme === "dark" ? "light" : "dark";
        try { localStorage.setItem("theme", choice); } catch { /* private mode: the cookie is enough */ }
        document.cookie = `theme=${choice}; path=/; max-age=31536000; samesite=lax`;
        apply();
      });
    }
  });
})();
