// The examples to copy. Readers paste them into shells, so the channel name is quoted: a link may have set it.

const QUOTE = {
  shell: (name) => (/^[\w@%+=:,./][\w@%+=:,./-]*$/.test(name) ? name : `'${name.replaceAll("'", `'\\''`)}'`),
  php: (name) => `'${name.replace(/[\\']/g, "\\$&")}'`,
};

// updateExamples inserts the channel into all examples, and the WebSocket address into the one that subscribes.
export function updateExamples(channel, address) {
  const socket = new URL(address);
  socket.search = new URLSearchParams({ channel });
  for (const code of document.querySelectorAll("code[data-quote]")) {
    const { before, after, quote } = code.dataset;
    const inserted = quote === "socket" ? `'${socket.href.replaceAll("'", "%27")}'` : QUOTE[quote](channel);
    code.textContent = before + inserted + after;
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
