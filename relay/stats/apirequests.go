package stats

// An APIResult is the result of a request to the HTTP API of the Pusher
// protocol.
type APIResult uint8

// The results of pusher_api_requests_total.
const (
	APIAccepted    APIResult = iota // it was answered; if it publishes, Redis has accepted all messages
	APIOrigin                       // a web page sent the request
	APIUnknownApp                   // the id in the path is not the application's
	APIKey                          // the key is not the application's
	APIClock                        // it was signed too long ago, or in the future
	APISignature                    // it is not signed, or with another secret
	APIBody                         // the body is not the one that was signed
	APIInvalid                      // the path, the method or the contents
	APITooLarge                     // the body, or a message above MAX_PAYLOAD_BYTES
	APIUnavailable                  // Redis has not accepted all messages, or has not answered
	APIUnsupported                  // this relay cannot answer it
	numAPIResults
)

// APIResults are the label values, by [APIResult].
var APIResults = [numAPIResults]string{
	"accepted", "origin", "app", "key", "clock", "signature", "body", "invalid", "too_large", "unavailable", "unsupported",
}
