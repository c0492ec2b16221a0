// A form with data-confirm asks once, in the page's own dialog, before it is sent. data-confirm-ok is the word on the button. {name} in
// the question is what was typed in the form's field of that name.
const dialog = document.getElementById("confirm");
const agreed = new WeakSet();

document.addEventListener("submit", (event) => {
  const form = event.target;
  const asking = event.submitter?.dataset.confirm ?? form.dataset.confirm;
  if (!dialog?.showModal || !asking || agreed.delete(form)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const submitter = event.submitter;
  const ok = dialog.querySelector("[data-confirm-ok]");
  dialog.querySelector("[data-confirm-text]").textContent = asking.replace(/\{(\w+)\}/g, (all, name) => form.elements[name]?.value.trim() || all);
  ok.textContent = submitter?.dataset.confirmOk ?? form.dataset.confirmOk ?? ok.dataset.default;
  dialog.returnValue = "";
  dialog.addEventListener("close", () => {
    if (dialog.returnValue !== "ok") return;
    agreed.add(form);
    form.requestSubmit(submitter);
  }, { once: true });
  dialog.showModal();
}, true);
