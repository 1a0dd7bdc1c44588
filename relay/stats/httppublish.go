package stats

// A PublishResult is the result of a request to publish over HTTP.
type PublishResult uint8

// The results of http_publishes_total.
const (
	PublishAccepted     PublishResult = iota // Redis has accepted the message on all channels
	PublishOrigin                            // a web page sent the request
	PublishUnauthorized                      // without the token
	PublishInvalid                           // the method, the channels, or a body that ended too early
	PublishTooLarge                          // above MAX_PAYLOAD_BYTES
	PublishUnavailable                       // Redis has not accepted the message on all channels
	numPublishResults
)

// PublishResults are the label values, by [PublishResult].
var PublishResults = [numPublishResults]string{"accepted", "origin", "unauthorized", "invalid", "too_large", "unavailable"}
