/* Files on their way to the server: one row each in the composer, with its progress, until the message is sent. The server
   decides what it takes (the welcome's `uploads`); what is said here only saves the customer the waiting. */

import { fileSize, make } from "./elements.js";
import { icon } from "./icons.js";

export class Uploads {
  #url;
  #visitor;
  #context;
  #onChange;
  #announce;
  #limits = null;
  #rows = [];

  /* `visitor()` is the token, `onChange()` is called when what `take` would give has changed, `announce(text)` is for who
     cannot see. */
  constructor(context, { visitor, onChange, announce }) {
    this.#url = new URL("webchat/upload", context.server).href;
    this.#context = context;
    this.#visitor = visitor;
    this.#onChange = onChange;
    this.#announce = announce;
    this.element = make("ul", { class: "kefu-uploads", hidden: true });
    this.picker = make("input", { type: "file", multiple: true, hidden: true, onchange: () => this.#picked() });
  }

  /* What the server takes: {max_bytes, accept}; null: nothing. */
  set limits(limits) {
    this.#limits = limits ?? null;
    this.picker.accept = limits?.accept?.join(",") ?? "";
    this.#onChange();
  }

  get isOn() {
    return this.#limits !== null;
  }

  get isBusy() {
    return this.#rows.some((row) => row.request);
  }

  get isReady() {
    return !this.isBusy && this.#rows.some((row) => row.result);
  }

  add(files) {
    if (!this.isOn) return;
    for (const file of files) this.#begin(file);
  }

  /* The uploaded files, which are the message's from now on. */
  take() {
    const results = this.#rows.map((row) => row.result).filter(Boolean);
    for (const row of this.#rows.filter(({ result }) => result)) this.#remove(row);
    return results;
  }

  /* Nothing of these is sent any more. */
  clear() {
    for (const row of [...this.#rows]) this.#remove(row);
  }

  relabel() {
    const { texts } = this.#context;
    this.element.setAttribute("aria-label", texts.attach);
    for (const row of this.#rows) row.remove.setAttribute("aria-label", texts.removeFile(row.file.name));
  }

  destroy() {
    for (const row of this.#rows) row.request?.abort();
  }

  #picked() {
    this.add(this.picker.files);
    this.picker.value = "";
  }

  #begin(file) {
    const row = this.#row(file);
    this.#rows.push(row);
    this.element.append(row.element);
    this.element.hidden = false;
    this.relabel();
    const problem = this.#problem(file);
    if (problem) this.#fail(row, problem, false);
    else this.#upload(row);
    this.#onChange();
  }

  #problem(file) {
    const { texts, locale } = this.#context;
    const { max_bytes, accept } = this.#limits;
    if (max_bytes && file.size > max_bytes) return texts.tooBig(fileSize(max_bytes, locale()));
    return accept?.length && !accept.some((pattern) => fits(file, pattern)) ? texts.wrongKind : "";
  }

  #row(file) {
    const { locale } = this.#context;
    const row = { file, request: null, result: null };
    row.bar = make("progress", { max: "100", value: "0", "aria-label": this.#context.texts.uploading(file.name) });
    row.note = make("small", {}, fileSize(file.size, locale()));
    row.retry = make("button", { type: "button", class: "kefu-retry", hidden: true, onclick: () => this.#upload(row) }, icon("retry"), this.#context.texts.retry);
    row.remove = make("button", { type: "button", class: "kefu-upload-remove", onclick: () => this.#remove(row) }, icon("close"));
    row.element = make("li", { class: "kefu-upload" },
      make("span", { class: "kefu-file-icon" }, icon(file.type.startsWith("image/") ? "picture" : "file")),
      make("span", { class: "kefu-file-facts" }, make("span", { class: "kefu-file-name", dir: "auto" }, file.name), row.note, row.bar),
      row.retry, row.remove);
    return row;
  }

  /* A request that tells how far it is; `fetch` cannot. */
  #upload(row) {
    const request = new XMLHttpRequest();
    const body = new FormData();
    body.append("file", row.file, row.file.name);
    row.request = request;
    row.retry.hidden = true;
    row.bar.hidden = false;
    row.element.classList.remove("kefu-is-refused");
    request.upload.onprogress = ({ loaded, total }) => (row.bar.value = total ? (100 * loaded) / total : 0);
    request.onload = () => (request.status === 200 ? this.#done(row, request.response) : this.#fail(row, request.status === 507 ? this.#context.texts.noRoom : request.response?.message, request.status === 429 || request.status >= 500));
    request.onerror = request.ontimeout = () => this.#fail(row, null, true);
    request.open("POST", this.#url);
    request.responseType = "json";
    request.setRequestHeader("X-Kefu-Visitor", this.#visitor());
    request.send(body);
    this.#onChange();
  }

  #done(row, result) {
    if (!result?.id) {
      this.#fail(row, null, true);
      return;
    }
    Object.assign(row, { request: null, result });
    row.bar.hidden = true;
    row.element.classList.add("kefu-is-done");
    this.#announce(this.#context.texts.uploaded(row.file.name));
    this.#onChange();
  }

  #fail(row, reason, canRetry) {
    row.request = null;
    row.bar.hidden = true;
    row.note.textContent = reason || this.#context.texts.uploadFailed;
    row.retry.hidden = !canRetry;
    row.element.classList.add("kefu-is-refused");
    this.#announce(`${row.file.name}: ${row.note.textContent}`);
    this.#onChange();
  }

  #remove(row) {
    row.request?.abort();
    row.element.remove();
    this.#rows = this.#rows.filter((one) => one !== row);
    this.element.hidden = !this.#rows.length;
    this.#onChange();
  }
}

/* "image/*", "application/pdf" or ".pdf", as in the `accept` of a file field. */
function fits(file, pattern) {
  if (pattern.startsWith(".")) return file.name.toLowerCase().endsWith(pattern.toLowerCase());
  return pattern.endsWith("/*") ? file.type.startsWith(pattern.slice(0, -1)) : file.type === pattern;
}
