//go:build cgo && pkcs11

package pkcs11

// What tokens of other makers answer can only be tested beside the tokens that there are.
var (
	CurvePoint = curvePoint
	DEROf      = derOf
)
