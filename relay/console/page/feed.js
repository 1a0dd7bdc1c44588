// Event streams that are read with fetch: an EventSource could not send the
// token, which is in the session storage and never in a cookie or URL.

const key = "sidecast-admin-token";

export const token = {
  get: () => sessionStorage.getItem(key) ?? "",
  set: (value) => value ? sessionStorage.setItem(key, value) : sessionStorage.removeItem(key),
};

// bearer is the header with the token. A header has bytes rather than characters.
const bearer = (text) => ({Authorization: "Bearer " + String.fromCharCode(...new TextEncoder().encode(text))});

// request sends a request with the token, and throws a Refused for an answer
// other than 2xx.
export async function request(path, options = {}) {
  const headers = token.get() ? bearer(token.get()) : {};
  const response = await fetch(path, {...options, headers, cache: "no-store", credentials: "omit", redirect: "error"});
  if (!response.ok) throw new Refused(response.status, (await response.text()).trim());
  return response;
}

export class Refused extends Error {
  constructor(status, text) {
    super(text || "status " + status);
    this.status = status;
  }
  get needsToken() { return this.status === 401 || this.status === 403; }
}

// lines reads the lines of an answer as they arrive.
export async function* lines(response) {
  let rest = "";
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const {value, done} = await reader.read();
      if (done) break;
      const all = (rest + value).split("\n");
      rest = all.pop();
      for (const line of all) yield line.endsWith("\r") ? line.slice(0, -1) : line;
    }
    if (rest) yield rest;
  } finally {
    reader.cancel().catch(() => {});
  }
}

// events reads the events of a stream: {name, data}.
export async function* events(response) {
  let name = "message", data = [];
  for await (const line of lines(response)) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
    else if (line === "") {
      if (data.length) yield {name, data: data.join("\n")};
      name = "message", data = [];
    }
  }
}
