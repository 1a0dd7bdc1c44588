<?php
// Publishes the contents of standard input as an application with the phpredis extension does.
[, $port, $channel] = $argv;
$redis = new Redis();
$redis->connect('127.0.0.1', (int) $port);
echo $redis->publish($channel, stream_get_contents(STDIN)), "\n";
