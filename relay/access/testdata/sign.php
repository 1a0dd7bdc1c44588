<?php
// Signs what standard input lists, with the line that relay/auth/README.md shows, and prints it with the signatures.
foreach (json_decode(stream_get_contents(STDIN), true) as ['secret' => $secret, 'exp' => $exp, 'user' => $user, 'channel' => $channel]) {
    $sig = $exp . '.' . hash_hmac('sha256', "$exp\n$user\n$channel", $secret);
    echo json_encode(compact('secret', 'exp', 'user', 'channel', 'sig'), JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE), "\n";
}
