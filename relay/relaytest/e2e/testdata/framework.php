<?php

// What Laravel does with the snippets of relay/pusher/README.md, which are in the
// same directory: env.json has the variables of the application.

namespace Illuminate\Broadcasting {
    class Channel
    {
        public function __construct(public string $name) {}
    }

    class PrivateChannel extends Channel
    {
        public function __construct(string $name)
        {
            parent::__construct('private-' . $name);
        }
    }
}

namespace Illuminate\Contracts\Broadcasting {
    interface ShouldBroadcastNow {}
}

namespace {
    function env(string $name): string
    {
        return json_decode(file_get_contents(__DIR__ . '/env.json'), true)[$name];
    }

    /** Like PusherBroadcaster with pusher-php-server, for the connection reverb. */
    function event(object $event): void
    {
        $body = json_encode([
            'name' => method_exists($event, 'broadcastAs') ? $event->broadcastAs() : $event::class,
            'data' => json_encode(get_object_vars($event)),
            'channels' => array_map(fn ($channel) => $channel->name, $event->broadcastOn()),
        ]);
        $path = '/apps/' . env('REVERB_APP_ID') . '/events';
        $query = http_build_query([
            'auth_key' => env('REVERB_APP_KEY'), 'auth_timestamp' => time(), 'auth_version' => '1.0', 'body_md5' => md5($body),
        ]);
        $query .= '&auth_signature=' . hash_hmac('sha256', "POST\n$path\n$query", env('REVERB_APP_SECRET'));
        $http = ['method' => 'POST', 'header' => "Content-Type: application/json\r\n", 'content' => $body, 'ignore_errors' => true];
        $url = env('REVERB_SCHEME') . '://' . env('REVERB_HOST') . ':' . env('REVERB_PORT') . "$path?$query";
        $answer = file_get_contents($url, false, stream_context_create(['http' => $http]));
        if (!str_contains($http_response_header[0], ' 200 ')) {
            http_response_code(500);
            echo "$http_response_header[0] $answer";
        }
    }

    switch (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
        case '/': // the page, whose script is what Vite makes of resources/js/app.js
            exit('<!doctype html><link rel="icon" href="data:,"><ul id="orders"></ul><script src="/app.js"></script>');
        case '/ship': // as in artisan tinker
            require __DIR__ . '/event.php';
            event(new App\Events\OrderShipped(7));
            break;
        case '/config':
            echo json_encode(require __DIR__ . '/broadcasting.php');
    }
}
