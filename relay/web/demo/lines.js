// The lines to copy. They are pasted into shells, so a channel's name is quoted: it may come from a link.

const QUOTE = {
  shell: (name) => (/^[\w@%+=:,./][\w@%+=:,./-]*$/.test(name) ? name : `'${name.replaceAll("'", `'\\''`)}'`),
  php: (name) => `'${name.replace(/[\\']/g, "\\$&")}'`,
};

// lines makes all lines speak of this channel, and of the socket that hears it.
export function lines(channel, address) {
  const socket = new URL(address);
  socket.search = new URLSearchParams({ channel });
  for (const code of document.querySelectorAll("code[data-quote]")) {
    const { before, after, quote } = code.dataset;
    const middle = quote === "socket" ? `'${socket.href.replaceAll("'", "%27")}'` : QUOTE[quote](channel);
    code.textContent = before + middle + after;
  }
}

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const code = button.nextElementSibling;
    const done = await copy(code);
    button.textContent = done ? "Copied" : "Selected";
    document.getElementById("copied").textContent = done ? "Copied" : "Selected: press Ctrl C to copy";
    setTimeout(() => {
      button.textContent = "Copy";
      document.getElementById("copied").textContent = "";
    }, 2000);
  });
}

async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent); // only where the page is secure, or on localhost
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
}
