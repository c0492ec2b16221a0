// A form with a field _confirm ("word|question"), or sent by a button of that name, asks once in the page's own dialog before it is sent;
// "_confirm:name=value" asks of the button with that name and value only. {name} in the question is what was typed in the form's field of
// that name. Without this script the server asks on a page of its own (src/http/held.rs); a field _confirmed says that it need not.
const dialog = document.getElementById("confirm");
const agreed = new WeakSet();

function question(form, submitter) {
  if (form.elements._confirmed) return undefined;
  if (submitter?.name === "_confirm") return submitter.value;
  const fields = [...form.querySelectorAll("input[type=hidden]")], of = (name) => fields.find((field) => field.name === name)?.value;
  return (submitter?.name && of(`_confirm:${submitter.name}=${submitter.value}`)) || of("_confirm");
}

function send(form, submitter) {
  const said = document.createElement("input");
  said.type = "hidden";
  said.name = "_confirmed";
  said.value = "1";
  agreed.add(form);
  form.append(said);
  form.requestSubmit(submitter);
  // What is sent is fixed by now. A page that the browser keeps asks again.
  said.remove();
}

document.addEventListener("submit", (event) => {
  const { target: form, submitter } = event;
  if (agreed.delete(form)) return;
  const asked = dialog?.showModal && question(form, submitter);
  if (!asked) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const at = asked.indexOf("|"), ok = dialog.querySelector("[data-confirm-ok]");
  dialog.querySelector("[data-confirm-text]").textContent = asked.slice(at + 1).replace(/\{(\w+)\}/g, (all, name) => form.elements[name]?.value.trim() || all);
  ok.textContent = asked.slice(0, at) || ok.dataset.default;
  dialog.returnValue = "";
  dialog.addEventListener("close", () => { if (dialog.returnValue === "ok") send(form, submitter); }, { once: true });
  dialog.showModal();
}, true);
