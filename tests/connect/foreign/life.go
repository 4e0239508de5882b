// The lives of a gateway, a deployment and a claim by Go's Connect client, which knows only the descriptors.
//
//	life ADDRESS TOKEN DESCRIPTORS proto|json
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	_ "google.golang.org/protobuf/types/known/durationpb"
	_ "google.golang.org/protobuf/types/known/timestamppb"
)

const pkg = "coreweave.inference.v1alpha1."

type api struct {
	address, token string
	files          *protoregistry.Files
	options        []connect.ClientOption
}

// call sends the JSON `fields` as the procedure's request, and answers with its first field, or with the error.
func (a *api) call(service, method, fields string) (protoreflect.Message, error) {
	found, err := a.files.FindDescriptorByName(protoreflect.FullName(pkg + service))
	check(err)
	desc := found.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(method))
	answer := func(_ connect.Spec, message any) error {
		if message, ok := message.(*dynamicpb.Message); ok {
			*message = *dynamicpb.NewMessage(desc.Output())
		}
		return nil
	}
	options := append([]connect.ClientOption{connect.WithSchema(desc), connect.WithResponseInitializer(answer)}, a.options...)
	client := connect.NewClient[dynamicpb.Message, dynamicpb.Message](
		http.DefaultClient, a.address+"/"+pkg+service+"/"+method, options...)
	message := dynamicpb.NewMessage(desc.Input())
	check(protojson.Unmarshal([]byte(fields), message))
	request := connect.NewRequest(message)
	request.Header().Set("Authorization", "Bearer "+a.token)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	response, err := client.CallUnary(ctx, request)
	if err != nil {
		return nil, err
	}
	return response.Msg.Get(desc.Output().Fields().Get(0)).Message(), nil
}

func (a *api) must(service, method, fields string) protoreflect.Message {
	answer, err := a.call(service, method, fields)
	check(err)
	return answer
}

// refused checks that the call fails with the code and that its first detail is of the kind.
func (a *api) refused(service, method, fields string, code connect.Code, kind string) {
	_, err := a.call(service, method, fields)
	var refusal *connect.Error
	if !errors.As(err, &refusal) || refusal.Code() != code {
		fail("%s should be refused with %s: %v", method, code, err)
	}
	if details := refusal.Details(); len(details) == 0 || details[0].Type() != "google.rpc."+kind {
		fail("%s: the first detail is no %s", method, kind)
	}
}

// life creates, waits, updates, waits, deletes and waits, and sees only states that a polling client may see.
func (a *api) life(service, kind, create, update string, meanwhile func(id string)) {
	made := a.must(service, "Create"+kind, create)
	id := text(part(made, "spec"), "id")
	seen(state(made), "STATUS_CREATING")
	a.until(service, kind, id, "STATUS_CREATING")
	meanwhile(id)
	seen(state(a.must(service, "Update"+kind, fmt.Sprintf(update, id))), "STATUS_UPDATING")
	a.until(service, kind, id, "STATUS_UPDATING")
	seen(state(a.must(service, "Delete"+kind, `{"id":"`+id+`"}`)), "STATUS_DELETING")
	for end := time.Now().Add(15 * time.Minute); ; time.Sleep(time.Second) {
		found, err := a.call(service, "Get"+kind, `{"id":"`+id+`"}`)
		if connect.CodeOf(err) == connect.CodeNotFound {
			break
		}
		check(err)
		seen(state(found), "STATUS_DELETING")
		if time.Now().After(end) {
			fail("%s is still there", kind)
		}
	}
	a.refused(service, "Delete"+kind, `{"id":"`+id+`"}`, connect.CodeNotFound, "ResourceInfo")
	fmt.Println(kind, "lived")
}

func (a *api) until(service, kind, id, meanwhile string) {
	for end := time.Now().Add(15 * time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
		found := a.must(service, "Get"+kind, `{"id":"`+id+`"}`)
		if state(found) == "STATUS_READY" {
			return
		}
		seen(state(found), meanwhile)
	}
	fail("%s %s did not get ready", kind, id)
}

func part(message protoreflect.Message, name protoreflect.Name) protoreflect.Message {
	return message.Get(message.Descriptor().Fields().ByName(name)).Message()
}

func text(message protoreflect.Message, name protoreflect.Name) string {
	return message.Get(message.Descriptor().Fields().ByName(name)).String()
}

func state(resource protoreflect.Message) string {
	status := part(resource, "status")
	field := status.Descriptor().Fields().ByName("status")
	return string(field.Enum().Values().ByNumber(status.Get(field).Enum()).Name())
}

func seen(state, allowed string) {
	if state != allowed {
		fail("saw %s where %s was to be seen", state, allowed)
	}
}

func check(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}

func main() {
	data, err := os.ReadFile(os.Args[3])
	check(err)
	set := &descriptorpb.FileDescriptorSet{}
	check(proto.Unmarshal(data, set))
	files, err := protodesc.NewFiles(set)
	check(err)
	a := &api{address: os.Args[1], token: os.Args[2], files: files, options: []connect.ClientOption{connect.WithSendGzip()}}
	if os.Args[4] == "json" {
		a.options = append(a.options, connect.WithProtoJSON())
	}
	name := "go-" + os.Args[4]
	claim := `"resources":{"instanceId":"gb200-4x","instanceCount":%d,"capacityType":"CAPACITY_TYPE_CUSTOMER","zones":["US-WEST-04A"]}`
	one, two := fmt.Sprintf(claim, 1), fmt.Sprintf(claim, 2)
	a.life("CapacityClaimService", "CapacityClaim", `{"name":"`+name+`",`+one+`}`, `{"id":"%s",`+two+`}`, func(string) {})
	front := `"name":"` + name + `","coreWeaveAuth":{},"pathBasedRouting":{}`
	a.life("GatewayService", "Gateway", `{`+front+`}`, `{"id":"%s",`+front+`,"zones":["us-west-04a"]}`, func(gateway string) {
		chat := `"name":"` + name + `","gatewayIds":["` + gateway + `"],"runtime":{"engine":"vllm","version":"0.21.0"},` +
			`"resources":{"instanceType":"gb200-4x","gpuCount":1},"autoscaling":{"min":1,"max":1},"traffic":{"weight":1},` +
			`"model":{"name":"meta/llama","bucket":"weights","path":"%s"}`
		first, second := fmt.Sprintf(chat, "a"), fmt.Sprintf(chat, "b")
		a.life("DeploymentService", "Deployment", `{`+first+`}`, `{"id":"%s",`+second+`}`, func(string) {
			a.refused("GatewayService", "DeleteGateway", `{"id":"`+gateway+`"}`, connect.CodeFailedPrecondition, "PreconditionFailure")
		})
	})
	a.refused("GatewayService", "CreateGateway", `{"name":"no auth"}`, connect.CodeInvalidArgument, "BadRequest")
}
