// The examples to copy. Readers paste them into shells, so the channel name is quoted: a link may have set it.

const QUOTE = {
  shell: (name) => (/^[\w@%+=:,./][\w@%+=:,./-]*$/.test(name) ? name : `'${name.replaceAll("'", `'\\''`)}'`),
  php: (name) => `'${name.replace(/[\\']/g, "\\$&")}'`,
  script: (name) => `'${name.replace(/[\\']/g, "\\$&").replaceAll("<", "\\x3c")}'`, // < could end the script
};

// urlOf returns the URL of one of the relay's paths, for a string in single quotes.
const urlOf = (name) => new URL(name, location).href.replaceAll("'", "%27");

// updateExamples inserts the channel into all examples, and the relay's URLs into the one for a page.
export function updateExamples(channel) {
  for (const code of document.querySelectorAll("code[data-text]")) {
    const { text, quote } = code.dataset;
    const values = {
      channel: QUOTE[quote](channel), client: urlOf("sidecast.mjs"), relay: urlOf("ws").replace("http", "ws"),
      stream: `'${urlOf("sse?channel=" + encodeURIComponent(channel))}'`,
    };
    code.textContent = text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  }
}

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const code = button.nextElementSibling;
    const copied = await copy(code);
    button.textContent = copied ? "Copied" : "Selected";
    document.getElementById("copied").textContent = copied ? "Copied" : "Selected. Press Ctrl+C to copy.";
    setTimeout(() => {
      button.textContent = "Copy";
      document.getElementById("copied").textContent = "";
    }, 2000);
  });
}

async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent); // exists only on HTTPS pages and on localhost
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
}
