/** A tar with one file: the context of a build that needs no other. Pure. */

const BLOCK = 512;

/** @param {string} name in ASCII, of 99 characters at most @param {string} text */
export function tarOf(name, text) {
  const content = new TextEncoder().encode(text);
  const tar = new Uint8Array(BLOCK * (3 + Math.ceil(content.length / BLOCK)));
  const put = (/** @type {string} */ value, /** @type {number} */ at) => tar.set(new TextEncoder().encode(value), at);
  const octal = (/** @type {number} */ value, /** @type {number} */ digits) => `${value.toString(8).padStart(digits, "0")}\0`;
  put(name, 0);
  put(octal(0o644, 7), 100); // mode
  put(octal(0, 7), 108); // user
  put(octal(0, 7), 116); // group
  put(octal(content.length, 11), 124);
  put(octal(0, 11), 136); // time
  put("        ", 148); // the checksum counts as spaces
  put("0ustar\x0000", 156); // an ordinary file
  const sum = tar.subarray(0, BLOCK).reduce((all, byte) => all + byte, 0);
  put(`${octal(sum, 6)} `, 148);
  tar.set(content, BLOCK);
  return tar;
}
