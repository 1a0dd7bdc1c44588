<?php
// Sends a request to the HTTP API of the Pusher protocol, signed as pusher-php-server 7 signs it, and prints the status
// and the body of the answer. The body of the request is read from standard input, and GET has none.
[, $server, $id, $key, $secret, $method, $path] = $argv;
parse_str($argv[7] ?? '', $query);
$body = $method === 'POST' ? stream_get_contents(STDIN) : '';

$path = "/apps/$id$path"; // which has no prefix, whatever the path of the server is
if ($method === 'POST') {
    $query['body_md5'] = md5($body);
}
$query += ['auth_key' => $key, 'auth_timestamp' => time(), 'auth_version' => '1.0'];
ksort($query);
$pairs = [];
foreach ($query as $name => $value) {
    $pairs[] = "$name=$value";
}
$query['auth_signature'] = hash_hmac('sha256', "$method\n$path\n" . implode('&', $pairs), $secret);

$path = implode('/', array_map('rawurlencode', explode('/', $path)));
$request = stream_context_create(['http' => [
    'method' => $method,
    'header' => ['Content-Type: application/json', 'X-Pusher-Library: pusher-http-php 7.2.7', 'Connection: close'],
    'content' => $body,
    'ignore_errors' => true,
]]);
$answer = file_get_contents($server . $path . '?' . http_build_query($query, '', '&', PHP_QUERY_RFC3986), false, $request);
echo explode(' ', $http_response_header[0])[1], ' ', $answer;
