<?php

// An application that answers and publishes as Laravel does, for the tests of
// Laravel Echo. Its settings are in settings.json. With the driver "redis" it
// signs nothing and publishes with Redis; with the driver "reverb" it signs, and
// publishes over the HTTP API of the relay.

$settings = json_decode(file_get_contents(__DIR__ . '/settings.json'));

const USERS = ['ann' => 1, 'bob' => 2, 'cat' => 3];

/** The name of the user who has logged in, or null. */
function user(): ?string
{
    $bearer = str_replace('Bearer ', '', $_SERVER['HTTP_AUTHORIZATION'] ?? '');
    $name = $_COOKIE['laravel_session'] ?? $bearer;
    return isset(USERS[$name]) ? $name : null;
}

function refuse(): never
{
    http_response_code(403);
    exit('{"message":"This action is unauthorized."}');
}

function answer(mixed $value): never
{
    header('Content-Type: application/json');
    exit(is_string($value) ? $value : json_encode($value));
}

/** What routes/channels.php says: true, the data of a member, or false. */
function channelRule(string $name): mixed
{
    return match (true) {
        $name === 'orders.secret' => false,
        str_starts_with($name, 'room.') => ['name' => user()],
        str_starts_with($name, 'App.Models.User.') => $name === 'App.Models.User.' . USERS[user()],
        default => true,
    };
}

/** The signature of pusher-php-server. */
function sign(string $text): string
{
    global $settings;
    return $settings->key . ':' . hash_hmac('sha256', $text, $settings->secret);
}

/** The key of an encrypted channel in pusher-php-server. */
function sharedSecret(string $channel): string
{
    return hash('sha256', $channel . str_repeat('k', 32), true);
}

function authorizeChannel(): never
{
    global $settings;
    $channel = $_POST['channel_name'] ?? '';
    $name = preg_replace('/^(private-encrypted-|private-|presence-)/', '', $channel);
    $result = user() === null ? false : channelRule($name);
    if ($result === false) {
        refuse();
    }
    $member = ['user_id' => USERS[user()], 'user_info' => $result];
    if ($settings->driver === 'redis') {
        answer(is_bool($result) ? json_encode($result) : ['channel_data' => $member]);
    }
    $socket = $_POST['socket_id'];
    if (preg_match('/\A\d+\.\d+\z/', $socket) !== 1) {
        throw new Exception("invalid socket id $socket");
    }
    if (str_starts_with($channel, 'presence-')) {
        $data = json_encode($member);
        answer(['auth' => sign("$socket:$channel:$data"), 'channel_data' => $data]);
    }
    $signature = sign("$socket:$channel");
    if ($name === 'orders.forged') {
        $signature = strrev($signature);
    }
    $answer = ['auth' => $signature];
    if (str_starts_with($channel, 'private-encrypted-')) {
        $answer['shared_secret'] = base64_encode(sharedSecret($channel));
    }
    answer($answer);
}

function authenticateUser(): never
{
    if (user() === null) {
        refuse();
    }
    $data = json_encode(['id' => (string) USERS[user()], 'user_info' => ['name' => user()]]);
    answer(['auth' => sign($_POST['socket_id'] . '::user::' . $data), 'user_data' => $data]);
}

/** broadcast(new Event(...)), with toOthers() if there is a header X-Socket-ID. */
function broadcast(array $channels, string $event, array $payload): void
{
    global $settings;
    $payload['socket'] = $_SERVER['HTTP_X_SOCKET_ID'] ?? null;
    if ($settings->driver === 'redis') {
        publishWithRedis($channels, $event, $payload);
    } else {
        publishOverHTTP($channels, $event, $payload);
    }
}

/** Like Illuminate\Broadcasting\Broadcasters\RedisBroadcaster with phpredis. */
function publishWithRedis(array $channels, string $event, array $payload): void
{
    global $settings;
    $redis = new Redis();
    $redis->connect('127.0.0.1', $settings->redisPort);
    $redis->setOption(Redis::OPT_PREFIX, $settings->prefix);
    $message = json_encode(['event' => $event, 'data' => $payload, 'socket' => $payload['socket']]);
    $script = <<<'LUA'
    for i = 2, #ARGV do
      redis.call('publish', ARGV[i], ARGV[1])
    end
    LUA;
    $redis->eval($script, [$message, ...array_map(fn ($channel) => $settings->prefix . $channel, $channels)], 0);
    if ($redis->getLastError() !== null) {
        throw new Exception($redis->getLastError());
    }
}

/** Like PusherBroadcaster with pusher-php-server. */
function publishOverHTTP(array $channels, string $event, array $payload): void
{
    global $settings;
    $socket = $payload['socket'];
    unset($payload['socket']);
    $data = json_encode($payload);
    if (str_starts_with($channels[0], 'private-encrypted-')) {
        $nonce = random_bytes(SODIUM_CRYPTO_SECRETBOX_NONCEBYTES);
        $data = json_encode([
            'nonce' => base64_encode($nonce),
            'ciphertext' => base64_encode(sodium_crypto_secretbox($data, $nonce, sharedSecret($channels[0]))),
        ]);
    }
    $body = json_encode(['name' => $event, 'data' => $data, 'channels' => $channels] + ($socket ? ['socket_id' => $socket] : []));
    $path = "/apps/$settings->appID/events";
    $query = "auth_key=$settings->key&auth_timestamp=" . time() . '&auth_version=1.0&body_md5=' . md5($body);
    $query .= '&auth_signature=' . hash_hmac('sha256', "POST\n$path\n$query", $settings->secret);
    $http = ['method' => 'POST', 'header' => "Content-Type: application/json\r\n", 'content' => $body, 'ignore_errors' => true];
    $answer = file_get_contents("$settings->api$path?$query", false, stream_context_create(['http' => $http]));
    if (!str_contains($http_response_header[0], ' 200 ')) {
        throw new Exception("$http_response_header[0] $answer");
    }
}

switch (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
    case '/broadcasting/auth':
        authorizeChannel();
    case '/broadcasting/user-auth':
        authenticateUser();
    case '/broadcast':
        $event = json_decode(file_get_contents('php://input'), true);
        broadcast($event['channels'], $event['event'], $event['data']);
        answer('{}');
    case '/':
        if (isset($_GET['as'])) {
            setcookie('laravel_session', $_GET['as'], ['httponly' => true, 'samesite' => 'Lax']);
        }
        exit('<!doctype html><link rel="icon" href="data:,"><div id="app"></div><script src="/' . ($_GET['script'] ?? 'echo') . '.js"></script>');
    default:
        http_response_code(404);
}
