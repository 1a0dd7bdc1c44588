<?php
// What a Laravel application with BROADCAST_CONNECTION=redis answers: BroadcastController::authenticate,
// RedisBroadcaster::auth and RedisBroadcaster::validAuthenticationResponse, with a session of PHP in place of Laravel's.

// routes/channels.php
$channels = [
    '/^order\.([^.]+)$/' => fn (array $user, string $id) => $id === '7' && $user['id'] === 42,
    '/^room\.([^.]+)$/' => fn (array $user) => ['name' => $user['name'], 'url' => 'https://x/ü'],
    '/^user\.([^.]+)$/' => fn (array $user) => ['id' => $user['id']], // a private channel may return data, too
];

function user(): ?array
{
    session_start(['read_and_close' => true]);
    return $_SESSION['user'] ?? null;
}

function refuse(): string
{
    http_response_code(403);
    header('Content-Type: application/json');
    return json_encode(['message' => '']);
}

function input(string $name): ?string // $request->input($name)
{
    $json = str_contains($_SERVER['CONTENT_TYPE'] ?? '', 'json');
    $body = $json ? json_decode(file_get_contents('php://input'), true) : $_POST;
    return $body[$name] ?? $_GET[$name] ?? null;
}

function authenticate(array $channels): string
{
    $name = (string) input('channel_name');
    $user = user();
    if ($name === '' || preg_match('/^(private|presence)-/', $name) && $user === null) {
        return refuse();
    }
    $bare = preg_replace('/^(private-encrypted-|private-|presence-)/', '', $name);
    foreach ($channels as $pattern => $callback) {
        if (preg_match($pattern, $bare, $parameters)) {
            $result = $callback($user, ...array_slice($parameters, 1));
            if ($result === false || $result === null) {
                return refuse();
            }
            return json_encode(is_bool($result) ? $result : ['channel_data' => ['user_id' => $user['id'], 'user_info' => $result]]);
        }
    }
    return refuse();
}

header('Content-Type: text/html; charset=UTF-8');
switch (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
case '/login':
    session_start();
    session_regenerate_id(true);
    $_SESSION['user'] = ['id' => (int) $_GET['user'], 'name' => 'User <' . $_GET['user'] . '>'];
    echo 'welcome';
    break;
case '/logout':
    session_start();
    session_destroy();
    break;
case '/broadcasting/auth':
    echo authenticate($channels);
    break;
case '/':
    echo '<!doctype html><title>the application</title>';
    break;
default:
    http_response_code(404);
}
