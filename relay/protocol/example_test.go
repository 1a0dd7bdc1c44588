package protocol_test

import (
	"fmt"

	"sidecast/relay/protocol"
)

func ExampleV1_Message() {
	frame := protocol.V1{}.Message("chat:42", nil, []byte("hello"))
	fmt.Printf("header % x\n", frame[:2])
	fmt.Printf("payload %s\n", frame[2:])
	// Output:
	// header 81 35
	// payload {"type":"message","channel":"chat:42","data":"hello"}
}

func ExampleV1_Decode() {
	var v1 protocol.V1
	cmd, _ := v1.Decode([]byte(`{"type":"publish","channel":"chat:42","data":"hello","ref":7}`), true)
	fmt.Printf("%s to %s: %s (ref %s)\n", cmd.Type, cmd.Channel, cmd.Data, cmd.Ref)

	cmd, _ = v1.Decode([]byte(`{"type":"publish","data":"hello"}`), true)
	fmt.Println("without a channel:", cmd.Fault)

	_, code := v1.Decode([]byte("hello"), true)
	fmt.Println("not JSON:", code.Number(), code.Reason())
	// Output:
	// publish to chat:42: hello (ref 7)
	// without a channel: bad_request
	// not JSON: 1007 sidecast.v1 takes one JSON object in each text frame
}
