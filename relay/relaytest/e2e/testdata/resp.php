<?php
// Publishes the contents of standard input as pure PHP clients such as Predis do: RESP over a stream.
[, $port, $channel] = $argv;
$command = ['PUBLISH', $channel, stream_get_contents(STDIN)];
$request = '*' . count($command) . "\r\n";
foreach ($command as $argument) {
    $request .= '$' . strlen($argument) . "\r\n" . $argument . "\r\n";
}
$stream = stream_socket_client("tcp://127.0.0.1:$port", $code, $message, 5);
if ($stream === false) {
    fwrite(STDERR, "$message\n");
    exit(1);
}
for ($sent = 0; $sent < strlen($request); $sent += $written) {
    $written = fwrite($stream, substr($request, $sent, 65536));
    if ($written === false || $written === 0) {
        fwrite(STDERR, "the connection broke\n");
        exit(1);
    }
}
$reply = fgets($stream);
if ($reply === false || $reply[0] !== ':') {
    fwrite(STDERR, "Redis answered $reply\n");
    exit(1);
}
echo substr($reply, 1);
