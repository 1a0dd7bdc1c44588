<?php
// Publishes what is posted to the channel chat:1. It writes the command in the protocol of Redis, so it needs no extension.
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    $said = substr((string) ($_POST['say'] ?? ''), 0, 1000);
    $redis = stream_socket_client('tcp://redis:6379', $code, $message, 2);
    fwrite($redis, "*3\r\n\$7\r\nPUBLISH\r\n\$6\r\nchat:1\r\n$" . strlen($said) . "\r\n$said\r\n");
    fgets($redis);
    http_response_code(204);
    exit;
}
?>
<!doctype html>
<form><input name="say" autofocus><button>say</button></form><ul></ul>
<script type="module">
  const { connect } = await import(`http://${location.hostname}:8080/sidecast.mjs`);
  const list = document.querySelector('ul'), form = document.querySelector('form');
  const chat = connect(`ws://${location.hostname}:8080/ws`).channel('chat:1', { last: 20 });
  chat.on('message', (m) => list.append(Object.assign(document.createElement('li'), { textContent: m.data })));
  form.onsubmit = (event) => { event.preventDefault(); fetch('', { method: 'POST', body: new FormData(form) }); form.reset(); };
</script>
