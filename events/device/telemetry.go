package device

import "github.com/device-fanout/fanout/events"

func init() {
	events.Register(schemaBase, TelemetryReported{
		Counter:           4711,
		Celsius:           new(19.5),
		BatteryMillivolts: new(3600.0),
		ButtonPressed:     new(false),
		Latitude:          new(45.1925),
		Longitude:         new(5.7649),
		RSSIdBm:           []float64{-113, -97.5},
	}, "A radio node, such as one of LoRaWAN, sent a frame with all that it has to say.")
}

// TelemetryReported is what a radio node, such as one of LoRaWAN, says in one frame.
type TelemetryReported struct {
	// Counter numbers the frames of the device. It starts again when the device joins its network again.
	Counter int64 `json:"counter" validate:"gte=0,lte=9007199254740991" doc:"number of the frame, counted by the device"`
	// Celsius is the temperature in degrees Celsius.
	Celsius *float64 `json:"celsius,omitempty" validate:"omitempty,gte=-100,lte=200" doc:"temperature in degrees Celsius"`
	// BatteryMillivolts is the voltage of the battery.
	BatteryMillivolts *float64 `json:"battery_millivolts,omitempty" validate:"omitempty,gte=0,lte=100000" doc:"voltage of the battery in millivolts"`
	// ButtonPressed is true when a press of the button made the device send.
	ButtonPressed *bool `json:"button_pressed,omitempty" doc:"true when a press of the button made the device send"`
	// Latitude and Longitude are the position of the device in degrees (WGS 84).
	Latitude  *float64 `json:"latitude,omitempty" validate:"omitempty,gte=-90,lte=90" doc:"latitude in degrees (WGS 84)"`
	Longitude *float64 `json:"longitude,omitempty" validate:"omitempty,gte=-180,lte=180" doc:"longitude in degrees (WGS 84)"`
	// RSSIdBm is how strongly each gateway heard the frame, in dBm.
	RSSIdBm []float64 `json:"rssi_dbm,omitempty" validate:"omitempty,max=256,dive,gte=-200,lte=50" doc:"signal strength at each gateway that heard the frame, in dBm"`
}

// EventType returns "device.telemetry.reported.v1".
func (TelemetryReported) EventType() string { return "device.telemetry.reported.v1" }
