/** Elements as tagged templates: html`<b>${text}</b>`. Text is always text: preact escapes it. */

import { h } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export const html = htm.bind(h);
