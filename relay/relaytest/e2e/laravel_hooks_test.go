package e2e_test

import (
	"testing"

	"sidecast/relay/relaytest/browser"
)

// TestLaravelHooks: the hooks for React and the composables for Vue of Laravel,
// in Chromium.
func TestLaravelHooks(t *testing.T) {
	t.Parallel()
	pages := buildLaravelPages(t)
	ctx := browser.Start(t)
	for _, driver := range laravelDrivers {
		s := newLaravelSite(t, driver, pages, nil)
		for _, library := range []string{"react", "vue"} {
			t.Run(driver+" with "+library, func(t *testing.T) { hooks(s.of(t), openPage(ctx, s.of(t), "ann", library)) })
		}
	}
}

// hooks checks that the hooks receive what a component asks for, until the component
// is removed.
func hooks(s *laravelSite, page *echoPage) {
	page.do("mount()")
	page.await(`document.getElementById('status')?.textContent === 'connected'`)
	page.await(`Object.values(echo.connector.channels).filter(({ subscription }) => subscription.subscribed).length === 4`)
	s.broadcast(`App\Events\OrderShipped`, `{"id":1}`, "orders", "private-orders.1")
	s.broadcast("order.paid", `{"id":2}`, "orders", "private-orders.1")
	s.broadcast("said", `{"text":"hello"}`, "presence-room.1")
	notification := `Illuminate\Notifications\Events\BroadcastNotificationCreated`
	s.broadcast(notification, `{"id":"8a","type":"App\\Notifications\\Paid"}`, "private-App.Models.User.1")
	page.saw("notification", `"8a"`)
	page.saw("said", `"hello"`)
	page.saw("private", "1", "2")
	page.saw("public", "1")

	page.do("hide()") // the component is removed, and its subscriptions with it
	page.await(`Object.keys(echo.connector.channels).length === 0`)
	s.awaitMembers("presence-room.1")
	page.await(`echo.connectionStatus() === 'connected'`)
}
