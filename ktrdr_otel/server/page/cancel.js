// Asking an operation to stop.

import * as api from "./api.js";
import { element, setText } from "./dom.js";
import { ended } from "./status.js";

export class CancelButton {
  asked = false;

  constructor(id) {
    this.id = id;
    this.button = element(
      "button",
      { type: "button", class: "danger", hidden: true, on: { click: () => this.ask() } },
      "Cancel",
    );
    this.reason = element("input", {
      id: "cancel-reason",
      autocomplete: "off",
      maxlength: 500,
      value: "cancelled on the page",
    });
    this.fault = element("p", { class: "fault", role: "alert" });
    this.dialog = element(
      "dialog",
      { "aria-labelledby": "cancel-title" },
      element(
        "form",
        { method: "dialog", on: { submit: (event) => this.submit(event) } },
        element("h2", { id: "cancel-title" }, "Cancel this operation?"),
        element("p", {}, "It stops at its next step. What it has done so far stays on record."),
        element("label", { for: "cancel-reason" }, "Reason"),
        this.reason,
        this.fault,
        element(
          "p",
          { class: "actions" },
          element("button", { type: "button", on: { click: () => this.dialog.close() } }, "Keep running"),
          element("button", { class: "danger", value: "cancel" }, "Cancel it"),
        ),
      ),
    );
    this.node = element("span", {}, this.button, this.dialog);
  }

  show(operation) {
    this.asked ||= (operation.cancel_reason ?? null) !== null;
    this.button.hidden = ended(operation);
    if (ended(operation) && this.dialog.open) this.dialog.close();
    this.button.disabled = this.asked;
    setText(this.button, this.asked ? "Cancelling …" : "Cancel");
  }

  ask() {
    setText(this.fault, "");
    this.dialog.showModal();
    this.reason.select();
  }

  async submit(event) {
    event.preventDefault();
    try {
      await api.cancel(this.id, this.reason.value.trim());
    } catch (fault) {
      setText(this.fault, `Not cancelled: ${fault.message}.`);
      return;
    }
    this.asked = true;
    this.dialog.close();
    this.button.disabled = true;
    setText(this.button, "Cancelling …");
  }
}
