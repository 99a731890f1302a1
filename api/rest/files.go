package rest

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	gengsb "github.com/emet-node/emet/api/gen/gsb"
	"github.com/emet-node/emet/api/gsb"
)

// gsbAPI lets clients answer requests of the bus.
type gsbAPI struct{ *server }

var gsbFamily = family{text: asItIs, status: func(err error) int {
	switch {
	case errors.Is(err, gsb.ErrNoService):
		return http.StatusNotFound
	case errors.Is(err, gsb.ErrAddress), errors.Is(err, gsb.ErrTaken):
		return http.StatusBadRequest
	}
	return 0
}}

func ownerOf(ctx context.Context) gsb.Owner {
	k := keyOf(ctx)
	return gsb.Owner{Identity: k.Identity, Key: k.ID}
}

// BindServices claims an address.
func (s gsbAPI) BindServices(c echo.Context) error {
	var in gengsb.NewService
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if in.Listen.On == "" {
		return badBody(c, "listen.on is missing")
	}
	id, err := s.Files.Bind(ownerOf(c.Request().Context()), in.Listen.On, in.Listen.Components)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Location", "/"+id)
	return answer(c, http.StatusCreated, gengsb.Service{Listen: in.Listen, ServicesId: id})
}

// ConnectServices upgrades to the WebSocket of a service.
func (s gsbAPI) ConnectServices(c echo.Context) error {
	if !isUpgrade(c.Request()) {
		return badQuery("WebSocket upgrade is expected")
	}
	return s.Files.Connect(ownerOf(c.Request().Context()), c.Param("servicesId"), c.Response(), c.Request())
}

// UnbindServices gives an address back.
func (s gsbAPI) UnbindServices(c echo.Context) error {
	if err := s.Files.Unbind(ownerOf(c.Request().Context()), c.Param("servicesId")); err != nil {
		return err
	}
	return done(c)
}
