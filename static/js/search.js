// "/" moves to the visible search field of the page, else of its head, unless one is typing. Typing itself searches through htmx attributes.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  const at = document.activeElement;
  if (at && (at.isContentEditable || /^(input|textarea|select)$/i.test(at.tagName))) return;
  const fields = [...document.querySelectorAll("main [data-search]"), ...document.querySelectorAll("[data-search]")];
  const field = fields.find((candidate) => candidate.offsetParent !== null);
  if (!field) return;
  event.preventDefault();
  field.focus();
  field.select();
});
