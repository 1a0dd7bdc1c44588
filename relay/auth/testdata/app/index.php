<?php
// A web application with a login. The scripts live-auth.php and may-receive.php are those of the README.
switch (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
case '/login':
    session_start();
    session_regenerate_id(true);
    $_SESSION['user_id'] = $_GET['user'];
    header('Location: /');
    break;
case '/logout':
    session_start();
    $_SESSION = [];
    session_destroy();
    setcookie(session_name(), '', 1, '/');
    header('Location: /');
    break;
case '/slow': // holds the session while it runs
    session_start();
    usleep(1000 * (int) $_GET['ms']);
    echo 'done';
    break;
case '/live-auth':
    require getenv('SNIPPETS') . '/live-auth.php';
    break;
case '/may-receive':
    require getenv('SNIPPETS') . '/may-receive.php';
    break;
case '/':
    header('Content-Type: text/html; charset=utf-8');
    readfile(__DIR__ . '/page.html');
    break;
default:
    http_response_code(404);
}
