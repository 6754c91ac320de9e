// What the console does better with script than without: copy buttons, tabs,
// the theme switch, "Load more" in place, and confirmations as dialogs. Every
// one of them is a plain link or form underneath.

/** toast says text at the corner of the page, and to screen readers. */
function toast(text, bad = false) {
  const holder = document.querySelector("#toasts");
  const note = document.createElement("div");
  note.className = bad ? "toast toast-bad" : "toast";
  note.textContent = text;
  holder.append(note);
  setTimeout(() => note.remove(), bad ? 9_000 : 5_000);
}

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea"); // plain HTTP has no clipboard API
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (!button) return;
  const text = button.dataset.copy ?? document.querySelector(button.dataset.copyFrom).textContent;
  try {
    await copy(text);
  } catch {
    toast("Copying is not allowed here. Select the text and copy it by hand.", true);
    return;
  }
  button.dataset.copied = "";
  toast("Copied.");
  setTimeout(() => delete button.dataset.copied, 1_500);
});

// The theme: system, light, dark, and round again.
const themes = { system: "light", light: "dark", dark: "system" };
const themeButtons = document.querySelectorAll("[data-theme-switch]");
function showTheme() {
  const theme = document.documentElement.dataset.theme ?? "system";
  for (const button of themeButtons) {
    button.setAttribute("aria-label", `Theme: ${theme}. Switch to ${themes[theme]}`);
    button.title = `Theme: ${theme}`;
    for (const icon of button.querySelectorAll("[data-theme-icon]")) icon.toggleAttribute("hidden", icon.dataset.themeIcon !== theme);
  }
}
for (const button of themeButtons) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const root = document.documentElement, theme = themes[root.dataset.theme ?? "system"];
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    try {
      if (theme === "system") localStorage.removeItem("hibari-theme");
      else localStorage.setItem("hibari-theme", theme);
    } catch {
      // Not kept then; the choice still holds for this page.
    }
    showTheme();
  });
}
showTheme();

// Tabs: without script every panel is shown below the other.
for (const list of document.querySelectorAll("[role=tablist]")) {
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const show = (chosen) => {
    for (const tab of tabs) {
      const is = tab === chosen;
      tab.setAttribute("aria-selected", String(is));
      tab.tabIndex = is ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !is;
    }
  };
  list.hidden = false;
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) show(tab);
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const tab = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
    show(tab);
    tab.focus();
  });
  show(tabs[0]);
}

// Confirmations: a form with data-ask leads to a page that asks. Here that
// page's form is fetched and asked in a dialog instead.
const dialog = document.querySelector("#ask");
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("form[data-ask]") || !dialog) return;
  event.preventDefault();
  const answer = await fetch(form.action, { headers: { "X-Hibari-Fragment": "1" } }).catch(() => null);
  if (!answer?.ok) {
    toast(answer?.status === 404 ? "That is already gone." : "The server did not answer. Try again.", true);
    return;
  }
  dialog.innerHTML = await answer.text();
  dialog.showModal();
});
dialog?.addEventListener("click", (event) => {
  if (event.target !== dialog && !event.target.closest("[data-cancel]")) return;
  event.preventDefault();
  dialog.close();
});

// A form with data-quiet is sent without leaving the page: the live region
// shows what it did.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("form[data-quiet]")) return;
  event.preventDefault();
  const button = form.querySelector("button[type=submit]");
  if (button.disabled) return;
  button.disabled = true;
  try {
    const answer = await fetch(form.action, {
      method: "POST", headers: { "X-Hibari-Fragment": "1" }, body: new URLSearchParams(new FormData(form)),
    });
    const said = await answer.json();
    toast(said.message, !answer.ok);
    if (answer.status === 401) location.reload();
  } catch {
    toast("The server did not answer. Try again.", true);
  } finally {
    button.disabled = false;
    if (form.closest("dialog")) dialog.close();
  }
});

// A second click on a plain POST must not send it twice.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "1";
  setTimeout(() => delete form.dataset.sent, 3_000);
});

// "Load more": the next page's rows join this page's table.
document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-more]");
  if (!link) return;
  event.preventDefault();
  const answer = await fetch(link.href).catch(() => null);
  if (!answer?.ok) {
    location.assign(link.href);
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const rows = page.querySelector(link.dataset.more);
  document.querySelector(link.dataset.more).append(...(rows ? [...rows.children].map((r) => document.importNode(r, true)) : []));
  const next = page.querySelector("a[data-more]");
  if (next) link.href = next.getAttribute("href");
  else link.closest(".more").remove();
});

for (const input of document.querySelectorAll("input[data-time-zone]")) {
  input.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "";
}
