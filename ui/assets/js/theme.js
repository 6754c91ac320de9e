// Loaded before the first paint, so that a chosen theme never flashes: "light"
// or "dark" is kept in localStorage, nothing kept means the system's choice.
(() => {
  const root = document.documentElement;
  root.dataset.js = "";
  try {
    const theme = localStorage.getItem("hibari-theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  } catch {
    // Storage can be barred; the system's theme is right then.
  }
})();
